//go:build interop && linux

package maildrop

import (
	"os"
	"path/filepath"
	"testing"

	"hoplite/internal/powercuttest"
)

// The power repeatedly fails while messages are delivered, appended, flagged
// and expunged. Everything acknowledged exists afterwards, with the UIDs that
// readers saw.
func TestInteropPowerCut(t *testing.T) {
	d := powercuttest.NewDisk(t)
	dir := filepath.Join(d.Mount, "data")
	l := newLedger()
	for range 8 {
		l.live(t, dir, d.Cut)
		d.On()
		if lost := l.verify(t, dir); lost > 0 {
			t.Errorf("%d of %d messages are lost", lost, len(l.stored))
		}
	}
	t.Logf("%d messages, %d of them expunged", len(l.stored), len(l.leaving))
	if len(l.uid) < 20 {
		t.Errorf("only %d messages were stored", len(l.uid))
	}
}

// As a negative control, deliveries that are not synced must be lost in the
// same power failure; otherwise TestInteropPowerCut would prove nothing.
func TestInteropPowerCutFindsUnsyncedMail(t *testing.T) {
	d := powercuttest.NewDisk(t)
	dir := filepath.Join(d.Mount, "data")
	l := newLedger()
	l.live(t, dir, d.Cut, crashUnsynced+"=1")
	d.On()
	lost := 0
	for name := range l.stored {
		if _, err := os.Stat(filepath.Join(dir, "mail/example.org/ann/new", name)); err != nil {
			lost++
		}
	}
	t.Logf("%d of %d messages are lost", lost, len(l.stored))
	if lost == 0 {
		t.Error("nothing was lost: the power cut does not cut")
	}
}
