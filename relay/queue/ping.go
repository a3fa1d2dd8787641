package queue

import (
	"context"
	"time"

	"hoplite/relay/queue/schedule"
)

// A destination that could not be reached is pinged every pingMin while mail
// waits for it. If it answers pings but takes no mail, the pause doubles up to
// pingMax.
const (
	pingMin = 5 * time.Second
	pingMax = 15 * time.Minute
)

// pinger looks for upstreams that can be reached again. Its attempts cost less
// than those of mail: nothing is saved or logged.
type pinger struct {
	ctx     context.Context // of Run
	running map[string]bool // upstreams that are being pinged
}

// pingUnreached pings an upstream until it answers or no mail waits for it. The
// lock is held.
func (q *Queue) pingUnreached(m *schedule.Machine, name string) {
	up := q.upstreams[name]
	if up == nil || up.Ping == nil || q.ping.ctx == nil || q.ping.running[name] || !m.AwaitsAnswer(name) {
		return
	}
	q.ping.running[name] = true
	ctx := q.ping.ctx
	q.workers.Go(func() { q.pingLoop(ctx, name) })
}

func (q *Queue) pingLoop(ctx context.Context, name string) {
	for pause := pingMin; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		var up *Upstream
		q.update(func(m *schedule.Machine) {
			if up = q.upstreams[name]; up == nil || up.Ping == nil || !m.AwaitsAnswer(name) {
				up = nil
				delete(q.ping.running, name)
			}
		})
		if up == nil {
			return
		}
		if up.Ping(ctx) != nil {
			continue
		}
		q.update(func(m *schedule.Machine) { m.Revive(name) })
		pause = min(2*pause, pingMax)
	}
}
