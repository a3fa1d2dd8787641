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

// The timing of the lock file, as in Dovecot.
const (
	lockStale = 120 * time.Second // a lock without an owner is stale after this
	lockNamed = 2 * time.Second   // so is one that names no owner after this long
	lockRetry = 10 * time.Millisecond
)

// ErrLocked is returned if another program holds the lock for too long.
var ErrLocked = errors.New("locked by another program")

// ours holds the locks that this process holds or is trying to acquire, by
// directory inode and name. Only one goroutine at a time handles a lock file,
// so a lock file with this process's id was left behind by a crashed process
// with the same id.
var ours sync.Map

// Lock is a lock file held by this process (a dotlock, in Dovecot's terms): the
// file NAME.lock, created exclusively, containing "pid:host".
type Lock struct {
	dir  *Dir
	name string
	key  string
	held time.Time
}

// Acquire creates the lock file for name in the same directory, waiting until
// ctx is done if necessary. It removes a lock left behind by a dead process.
func (d *Dir) Acquire(ctx context.Context, name string) (*Lock, error) {
	st, err := d.StatSelf()
	if err != nil {
		return nil, err
	}
	l := &Lock{dir: d, name: name + ".lock", key: fmt.Sprintf("%d/%s", st.Ino, name)}
	if err := l.retry(ctx, l.claim); err != nil {
		return nil, err
	}
	if err := l.retry(ctx, l.try); err != nil {
		ours.Delete(l.key)
		return nil, err
	}
	return l, nil
}

// claim keeps other goroutines from handling the lock file.
func (l *Lock) claim() (ok bool, err error) {
	_, taken := ours.LoadOrStore(l.key, true)
	return !taken, nil
}

// retry calls try until it succeeds or ctx is done.
func (l *Lock) retry(ctx context.Context, try func() (bool, error)) error {
	for wait := lockRetry; ; wait = min(2*wait, 200*time.Millisecond) {
		ok, err := try()
		if err != nil {
			return fmt.Errorf("lock %s: %w", l.name, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock %s in %s: %w", l.name, l.dir.path(), ErrLocked)
		case <-time.After(wait):
		}
	}
}

// try creates the lock file. It first removes one left behind by a dead
// process.
func (l *Lock) try() (ok bool, err error) {
	for {
		err := l.create()
		if !errors.Is(err, fs.ErrExist) {
			return err == nil, err
		}
		if !l.stale() {
			return false, nil
		}
	}
}

func (l *Lock) create() error {
	f, err := l.dir.Create(l.name, 0o600)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	_, err = f.WriteString(strconv.Itoa(os.Getpid()) + ":" + host)
	if err = errors.Join(err, f.Close()); err != nil {
		l.dir.Remove(l.name)
		return err
	}
	l.held = time.Now()
	return nil
}

// stale removes the lock file if its owner is dead, and reports whether to
// retry immediately.
func (l *Lock) stale() bool {
	st, err := l.dir.Stat(l.name)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	// The owner writes its id right after creating the file. If the id is
	// missing, the owner was killed in between.
	nameless := st.Size == 0 && time.Since(st.MTime) > lockNamed
	if time.Since(st.MTime) < lockStale && !nameless && !l.ownerDead() {
		return false
	}
	// Another process may have replaced the lock in the meantime. Remove it
	// only if it is still the one examined above.
	if now, err := l.dir.Stat(l.name); err != nil || now.Ino != st.Ino || !now.MTime.Equal(st.MTime) {
		return errors.Is(err, fs.ErrNotExist)
	}
	return l.dir.Remove(l.name) == nil
}

// ownerDead reports whether the lock names a process on this host that no
// longer exists.
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
	return pid == os.Getpid() || errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// Touch keeps the lock from becoming stale during long operations.
func (l *Lock) Touch() {
	if time.Since(l.held) > 10*time.Second {
		l.held = time.Now()
		l.dir.SetTimes(l.name, l.held)
	}
}

// Release releases the lock.
func (l *Lock) Release() {
	l.dir.Remove(l.name)
	ours.Delete(l.key)
}
