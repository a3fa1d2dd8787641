package relay

import (
	"github.com/prometheus/client_golang/prometheus"

	"hoplite/mail/story"
)

// Metrics holds the metrics of all listeners for Prometheus.
type Metrics struct {
	transactions, logins, legacy *prometheus.CounterVec
	octets                       prometheus.Counter
	took                         prometheus.Histogram
}

// NewMetrics returns metrics that are all zero.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoplite_smtp_" + name, Help: help}, labels)
	}
	return &Metrics{
		transactions: counter("transactions_total", "Transactions by listener and verdict.", "listener", "verdict"),
		logins:       counter("logins_total", "Logins by listener and reply code.", "listener", "code"),
		legacy:       counter("legacy_tls_total", "Transactions over TLS that only a legacy profile permits.", "listener"),
		octets:       prometheus.NewCounter(prometheus.CounterOpts{Name: "hoplite_smtp_octets_total", Help: "Octets of completely received messages."}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hoplite_smtp_transaction_seconds", Help: "Time from MAIL to the last reply of accepted messages.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 12),
		}),
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.transactions, m.logins, m.legacy, m.octets, m.took}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

// finished counts a transaction. It does nothing if m is nil.
func (m *Metrics) finished(s *story.Summary) {
	if m == nil {
		return
	}
	m.transactions.WithLabelValues(s.Client.Listener, s.Verdict).Inc()
	m.octets.Add(float64(s.Header.Size))
	if s.Reply.Positive() {
		m.took.Observe(s.Took.Seconds())
	}
	if s.Client.TLS != nil && s.Client.TLS.Legacy {
		m.legacy.WithLabelValues(s.Client.Listener).Inc()
	}
}

func (m *Metrics) login(listener, code string) {
	if m != nil {
		m.logins.WithLabelValues(listener, code).Inc()
	}
}
