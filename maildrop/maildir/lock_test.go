//go:build unix

package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Goroutines in one process exclude each other, even though the lock file names
// the same process for all of them.
func TestLockExcludesGoroutines(t *testing.T) {
	d, path := testDir(t)
	var holders atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 15 {
				l, err := d.Acquire(context.Background(), "list")
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d goroutines hold the lock", n)
				}
				if _, err := os.Stat(filepath.Join(path, "list.lock")); err != nil {
					t.Error(err)
				}
				holders.Add(-1)
				l.Release()
			}
		})
	}
	wg.Wait()
	if _, err := os.Stat(filepath.Join(path, "list.lock")); err == nil {
		t.Error("the lock file is still there")
	}
}

func TestLockLeftBehind(t *testing.T) {
	host, err := os.Hostname()
	must(t, err)
	old := time.Now().Add(-time.Hour)
	for _, tc := range []struct {
		name, text string
		at         time.Time
		taken      bool
	}{
		{"by a process that is gone", "999999999:" + host, time.Now(), true},
		{"by a process with our id", fmt.Sprintf("%d:%s", os.Getpid(), host), time.Now(), true},
		{"by a process that lives", fmt.Sprintf("%d:%s", os.Getppid(), host), time.Now(), false},
		{"by another host", "1:elsewhere.example", time.Now(), false},
		{"by another host, long ago", "1:elsewhere.example", old, true},
		{"without a name, just now", "", time.Now(), false},
		{"without a name, a while ago", "", time.Now().Add(-3 * time.Second), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, path := testDir(t)
			file := filepath.Join(path, "list.lock")
			must(t, os.WriteFile(file, []byte(tc.text), 0o600))
			must(t, os.Chtimes(file, tc.at, tc.at))
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			l, err := d.Acquire(ctx, "list")
			if (err == nil) != tc.taken || err != nil && !errors.Is(err, ErrLocked) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				l.Release()
				return
			}
			// A failed attempt must not block the next one.
			must(t, os.Remove(file))
			if l, err = d.Acquire(context.Background(), "list"); err != nil {
				t.Fatal(err)
			}
			l.Release()
		})
	}
}
