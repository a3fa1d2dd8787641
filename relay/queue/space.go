package queue

import (
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// started is a reading of the monotonic clock, which is unaffected by clock
// changes.
var started = time.Now()

// spaceGuard monitors the free space on the queue's disk.
type spaceGuard struct {
	free    func() (int64, error) // nil means unlimited
	reserve atomic.Int64
	checked atomic.Int64 // time of the last check, since started; 0 forces a check
	isLow   atomic.Bool
	log     zerolog.Logger
}

// setReserve changes the amount of free space below which the disk is treated
// as full.
func (g *spaceGuard) setReserve(octets int64) {
	g.reserve.Store(octets)
	g.checked.Store(0)
}

// low reports whether the free space is below the reserve. It checks the disk
// at most once a second.
func (g *spaceGuard) low() bool {
	reserve := g.reserve.Load()
	if g.free == nil || reserve <= 0 {
		return false
	}
	now := int64(time.Since(started)) + 1
	if at := g.checked.Load(); (at == 0 || now-at > int64(time.Second)) && g.checked.CompareAndSwap(at, now) {
		free, err := g.free()
		low := err == nil && free < reserve
		if was := g.isLow.Swap(low); was != low {
			e := g.log.Warn()
			if !low {
				e = g.log.Info()
			}
			e.Int64("free", free).Int64("reserve", reserve).Bool("refusing", low).Msg("free space of the queue's disk")
		}
	}
	return g.isLow.Load()
}
