package queue

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics holds the queue's metrics for Prometheus. It is created before the
// queue and its journal, whose options refer to Attempted and Synced.
type Metrics struct {
	batch, sync, transit prometheus.Histogram
	outcomes             *prometheus.CounterVec
	queue                *Queue // set by Watch
	messages, oldest     *prometheus.Desc
	log, live            *prometheus.Desc
	queued, attempts     *prometheus.Desc
	leftOut              *prometheus.Desc
}

// NewMetrics returns metrics that are not yet attached to a queue; see Watch.
func NewMetrics() *Metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("hoplite_queue_"+name, help, labels, nil)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hoplite_queue_" + name, Help: help, Buckets: buckets})
	}
	return &Metrics{
		batch:   histogram("batch_records", "Records made durable by one sync of the log.", prometheus.ExponentialBuckets(1, 2, 10)),
		sync:    histogram("sync_seconds", "Time of one write and sync of the log.", prometheus.ExponentialBuckets(0.0001, 2, 15)),
		transit: histogram("transit_seconds", "Time from a message's MAIL to its delivery, for each recipient.", prometheus.ExponentialBuckets(0.001, 4, 14)),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hoplite_queue_outcomes_total", Help: "Recipients by upstream and outcome of the attempt.",
		}, []string{"upstream", "outcome"}),
		messages: desc("messages", "Messages in the queue by state.", "state"),
		oldest:   desc("oldest_seconds", "Age of the oldest message by state.", "state"),
		log:      desc("log_bytes", "Size of the log."),
		live:     desc("log_live_bytes", "Size of the live data in the log."),
		queued:   desc("queued_total", "Messages queued."),
		attempts: desc("attempts_total", "Delivery attempts."),
		leftOut:  desc("reports_left_out_total", "Reports about undeliverable mail that were not sent to the postmaster because of the hourly limit."),
	}
}

// Synced records a batch written by the journal.
func (m *Metrics) Synced(records int, took time.Duration) {
	m.batch.Observe(float64(records))
	m.sync.Observe(took.Seconds())
}

// Attempted records a delivery attempt.
func (m *Metrics) Attempted(a Attempt) {
	for i := range a.Outcomes {
		o, word := &a.Outcomes[i], "deferred"
		switch {
		case o.Reply.Positive():
			word = "delivered"
			m.transit.Observe(time.Since(a.Queued).Seconds())
		case o.Reply.Permanent():
			word = "failed"
		}
		m.outcomes.WithLabelValues(a.Upstream, word).Inc()
	}
}

// Watch sets the queue from which metrics are collected.
func (m *Metrics) Watch(q *Queue) { m.queue = q }

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range []prometheus.Collector{m.batch, m.sync, m.transit, m.outcomes} {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{m.messages, m.oldest, m.log, m.live, m.queued, m.attempts, m.leftOut} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{m.batch, m.sync, m.transit, m.outcomes} {
		c.Collect(ch)
	}
	q := m.queue
	if q == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count, age := q.ages(time.Now())
	for _, state := range []string{"active", "deferred", "held"} {
		gauge(m.messages, float64(count[state]), state)
		gauge(m.oldest, age[state].Seconds(), state)
	}
	u := q.opt.Journal.Usage()
	gauge(m.log, float64(u.Log))
	gauge(m.live, float64(u.Live))
	for d, n := range map[*prometheus.Desc]*atomic.Int64{m.queued: &q.stats.queued, m.attempts: &q.stats.attempts, m.leftOut: &q.stats.leftOut} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n.Load()))
	}
}
