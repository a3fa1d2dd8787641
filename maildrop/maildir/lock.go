//go:build unix

package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The rules of the lock file, as Dovecot keeps them.
const (
	lockStale = 120 * time.Second // unchanged for so long = its owner is dead
	lockNamed = 2 * time.Second   // without a name for so long, too
	lockRetry = 10 * time.Millisecond
)

// ErrLocked is the answer when another program holds the lock for too long.
var ErrLocked = errors.New("locked by another program")

// ours are the lock files that this process holds, by device-independent
// identity of their directory, so that a lock left by a crashed process with
// our process id is told from one of ours.
var ours sync.Map

// Lock is a held lock file. It is what Dovecot calls a dotlock: the file
// NAME.lock, made exclusively, with "pid:host" inside.
type Lock struct {
	dir  *Dir
	name string
	key  string
	held time.Time
}

// Acquire takes the lock file beside name, waiting until ctx is done. A lock
// that a dead process left behind is removed.
func (d *Dir) Acquire(ctx context.Context, name string) (*Lock, error) {
	st, err := d.StatSelf()
	if err != nil {
		return nil, err
	}
	l := &Lock{dir: d, name: name + ".lock", key: fmt.Sprintf("%d/%s", st.Ino, name)}
	wait := lockRetry
	for {
		err := l.try()
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if l.stale() {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s in %s: %w", name, d.path, ErrLocked)
		case <-time.After(wait):
			wait = min(2*wait, 200*time.Millisecond)
		}
	}
}

func (l *Lock) try() error {
	f, err := l.dir.Create(l.name, 0o600)
	if err != nil {
		return err
	}
	ours.Store(l.key, true)
	host, _ := os.Hostname()
	_, err = f.WriteString(strconv.Itoa(os.Getpid()) + ":" + host)
	if err = errors.Join(err, f.Close()); err != nil {
		l.Release()
		return err
	}
	l.held = time.Now()
	return nil
}

// stale removes the lock file if its owner is dead and tells whether trying
// again makes sense at once.
func (l *Lock) stale() bool {
	st, err := l.dir.Stat(l.name)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	// The owner writes its name right after making the file: where there is
	// none, it was killed in between.
	nameless := st.Size == 0 && time.Since(st.MTime) > lockNamed
	if time.Since(st.MTime) < lockStale && !nameless && !l.ownerDead() {
		return false
	}
	// Another process may have replaced the lock meanwhile: it is only
	// removed if it is still the one that was judged.
	if now, err := l.dir.Stat(l.name); err != nil || now.Ino != st.Ino || !now.MTime.Equal(st.MTime) {
		return errors.Is(err, fs.ErrNotExist)
	}
	return l.dir.Remove(l.name) == nil
}

// ownerDead tells whether the lock names a process of this host that is gone.
func (l *Lock) ownerDead() bool {
	text, err := l.dir.ReadFile(l.name, 1024)
	if err != nil {
		return false
	}
	num, host, ok := strings.Cut(strings.TrimSpace(string(text)), ":")
	pid, err := strconv.Atoi(num)
	if mine, _ := os.Hostname(); !ok || err != nil || pid <= 0 || host != mine {
		return false
	}
	if pid == os.Getpid() {
		_, held := ours.Load(l.key)
		return !held
	}
	return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// Touch keeps the lock from looking stale during long work.
func (l *Lock) Touch() {
	if time.Since(l.held) > 10*time.Second {
		l.held = time.Now()
		l.dir.SetTimes(l.name, l.held)
	}
}

// Release gives the lock back.
func (l *Lock) Release() {
	l.dir.Remove(l.name)
	ours.Delete(l.key)
}
