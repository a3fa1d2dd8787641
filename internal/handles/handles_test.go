//go:build unix

package handles

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// opener opens one file and counts the calls.
type opener struct {
	name  string
	opens int
	files []*os.File
	fail  []error // results of the next calls
}

func (o *opener) open() (*os.File, error) {
	o.opens++
	if len(o.fail) > 0 {
		err := o.fail[0]
		o.fail = o.fail[1:]
		return nil, err
	}
	f, err := os.Open(o.name)
	o.files = append(o.files, f)
	return f, err
}

// left returns the number of files that have been closed.
func (o *opener) left() (n int) {
	for _, f := range o.files {
		if _, err := f.Stat(); errors.Is(err, os.ErrClosed) {
			n++
		}
	}
	return n
}

func newOpener(t *testing.T) *opener {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &opener{name: name}
}

func (o *opener) in(p *Pool, owner *Owner) *Handle {
	return p.New(owner, o.open)
}

// use acquires and releases a handle.
func use(t *testing.T, h *Handle) {
	t.Helper()
	f, err := h.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	var b [4]byte
	if _, err := f.ReadAt(b[:], 0); err != nil || string(b[:]) != "text" {
		t.Fatalf("read %q, %v", b, err)
	}
	h.Release()
}

func TestBudgets(t *testing.T) {
	o := newOpener(t)
	p := NewPool(8, 3)
	for range 4 {
		owner := &Owner{}
		for range 10 {
			use(t, o.in(p, owner))
			if owner.open > 3 || p.Open() > 8 {
				t.Fatalf("an owner has %d descriptors, all have %d", owner.open, p.Open())
			}
		}
	}
	if p.Open() != 8 {
		t.Errorf("%d descriptors of 8 are kept", p.Open())
	}
	if o.left() != o.opens-8 {
		t.Errorf("%d opened, %d closed", o.opens, o.left())
	}
}

// Handles in use are never closed, even above the limits.
func TestHandlesInUse(t *testing.T) {
	o := newOpener(t)
	p, owner := NewPool(2, 2), &Owner{}
	var all []*Handle
	for range 5 {
		h := o.in(p, owner)
		if _, err := h.Acquire(); err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	p.Relieve()
	if p.Open() != 5 || o.left() != 0 {
		t.Fatalf("%d open, %d closed", p.Open(), o.left())
	}
	for _, h := range all {
		use(t, h)
		h.Release()
	}
	if o.opens != 5 {
		t.Errorf("opened %d times", o.opens)
	}
	use(t, o.in(p, owner))
	if p.Open() > 2 {
		t.Errorf("%d open after the last use", p.Open())
	}
}

// A frequently used handle outlives the others.
func TestSecondChance(t *testing.T) {
	o, often := newOpener(t), newOpener(t)
	p, owner := NewPool(4, 4), &Owner{}
	h := often.in(p, owner)
	for range 50 {
		use(t, h)
		use(t, o.in(p, owner))
	}
	if often.opens > 5 {
		t.Errorf("opened %d times in 50 uses", often.opens)
	}
}

func TestIdleHandlesAreClosed(t *testing.T) {
	o := newOpener(t)
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(10, 10)
		h, busy := o.in(p, &Owner{}), o.in(p, &Owner{})
		use(t, h)
		if _, err := busy.Acquire(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*rest + time.Second)
		if p.Open() != 1 {
			t.Errorf("%d descriptors open after %v", p.Open(), 2*rest)
		}
		use(t, h)
		busy.Release()
		time.Sleep(3 * rest)
		if p.Open() != 0 || p.armed {
			t.Errorf("%d descriptors open, armed %v", p.Open(), p.armed)
		}
	})
}

func TestNoDescriptorLeft(t *testing.T) {
	idle, o := newOpener(t), newOpener(t)
	p := NewPool(10, 10)
	use(t, idle.in(p, &Owner{}))
	o.fail = []error{&os.PathError{Op: "open", Err: syscall.EMFILE}}
	use(t, o.in(p, &Owner{}))
	if idle.left() != 1 || o.opens != 2 {
		t.Errorf("%d idle handles closed, %d attempts", idle.left(), o.opens)
	}
	o.fail = []error{os.ErrNotExist}
	if _, err := o.in(p, &Owner{}).Acquire(); !errors.Is(err, os.ErrNotExist) || o.opens != 3 {
		t.Errorf("%v after %d attempts", err, o.opens)
	}
}

func TestClose(t *testing.T) {
	o := newOpener(t)
	p := NewPool(10, 10)
	h := o.in(p, &Owner{})
	if _, err := h.Acquire(); err != nil {
		t.Fatal(err)
	}
	h.Rest()
	h.Close()
	if o.left() != 0 {
		t.Fatal("closed during use")
	}
	h.Release()
	if o.left() != 1 || p.Open() != 0 {
		t.Errorf("closed %d times, %d open", o.left(), p.Open())
	}
	if _, err := h.Acquire(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("acquired a closed handle: %v", err)
	}
	again := o.in(p, &Owner{})
	use(t, again)
	again.Rest()
	use(t, again)
	if o.opens != 3 {
		t.Errorf("opened %d times", o.opens)
	}
}

// Even if more handles are in use than there are descriptors, every user reads
// from an open file.
func TestConcurrentUse(t *testing.T) {
	p := NewPool(3, 2)
	var handles []*Handle
	for range 6 {
		o := newOpener(t)
		handles = append(handles, p.New(&Owner{}, func() (*os.File, error) { return os.Open(o.name) }))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				f, err := handles[(i*(w+1))%len(handles)].Acquire()
				if err != nil {
					t.Error(err)
					return
				}
				var b [4]byte
				if _, err := f.ReadAt(b[:], 0); err != nil {
					t.Error(err)
				}
				handles[(i*(w+1))%len(handles)].Release()
			}
		})
	}
	wg.Wait()
	if p.Open() > 3+4 {
		t.Errorf("%d descriptors open", p.Open())
	}
}
