package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/acme"
	"hoplite/internal/conf"
	"hoplite/internal/control"
	"hoplite/internal/files"
	"hoplite/internal/listen"
	"hoplite/mail"
)

// issuance is the manager of the acme block, which outlives a reload that does
// not change the block.
type issuance struct {
	manager *acme.Manager
	key     string // identifies the block and the names
	stop    context.CancelFunc
}

// openIssuer returns the manager for the acme block: the running one if nothing
// has changed, otherwise a new one that is not in use yet. It returns nil if
// there is no block.
func (r *runtime) openIssuer(cfg *config.Config) (*issuance, error) {
	if cfg.ACME == nil {
		return nil, nil
	}
	names := cfg.ACMENames()
	key := issuanceKey(*cfg.ACME, names)
	if r.issuer != nil && r.issuer.key == key {
		return r.issuer, nil
	}
	m, err := acme.New(*cfg.ACME, acme.Env{Names: names, Data: cfg.Data, Log: r.log})
	if err != nil {
		return nil, err
	}
	return &issuance{manager: m, key: key}, nil
}

// issuanceKey identifies a manager's task: blocks with the same key can share a
// manager.
func issuanceKey(block acme.Config, names []string) string {
	d := acme.DNSConfig{}
	if block.DNS != nil {
		d = *block.DNS
	}
	block.Pos, block.DNS, d.Pos = conf.Pos{}, nil, conf.Pos{}
	secret := sha256.Sum256([]byte(d.Secret)) // hashed, because a Secret is not printed
	return fmt.Sprint(block, names, d, secret)
}

// useIssuer makes i the running manager. It is called when the listeners that
// answer challenges are open.
func (r *runtime) useIssuer(i *issuance) {
	old := r.issuer
	if r.issuer = i; old == i {
		return
	}
	old.close()
	if i == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.stop = cancel
	if err := i.manager.Start(ctx); err != nil {
		r.log.Error().Err(err).Msg("certificates")
	}
}

// close stops the renewals. Handshakes in an earlier generation may still use
// the certificates.
func (i *issuance) close() {
	if i == nil {
		return
	}
	if i.stop != nil {
		i.stop()
	}
	i.manager.Close()
}

// openCerts loads the certificates from their files, or else a self-signed one,
// and adds those of the acme block.
func (s *serving) openCerts() (err error) {
	cfg := s.Config
	var pairs []listen.Pair
	for _, c := range cfg.ServerCertificates() {
		pairs = append(pairs, listen.Pair{Cert: cfg.Under(c.Cert), Key: cfg.Under(c.Key)})
	}
	stopgap := len(pairs) == 0
	if stopgap {
		pair, err := listen.SelfSigned(cfg.Under("tls"), s.Log, cfg.Names()...)
		if err != nil {
			return err
		}
		pairs = append(pairs, pair)
	}
	if s.certs, err = listen.LoadCerts(pairs, s.Log); err != nil {
		return err
	}
	if s.issuer, err = s.runtime.openIssuer(cfg); err != nil {
		return err
	}
	if s.issuer != nil {
		s.certs.SetIssuer(s.issuer.manager, stopgap)
	}
	return nil
}

// renewCertificate handles the request to renew the certificates for a name.
func (s *Server) renewCertificate(w http.ResponseWriter, r *http.Request) {
	current := s.runtime.certificates.Load()
	if current == nil || current.issuer == nil {
		control.Answer(w, nil, errors.New("the configuration has no acme block"))
		return
	}
	control.Answer(w, true, current.issuer.manager.Renew(r.Context(), r.PathValue("name")))
}

// certificateMetrics exports the metrics of a generation's certificates.
type certificateMetrics struct{ certs *listen.Certs }

var certificateLeft = prometheus.NewDesc("hoplite_certificate_seconds", "Time until a certificate expires.", []string{"name", "key"}, nil)

// Describe implements prometheus.Collector.
func (m certificateMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- certificateLeft }

// Collect implements prometheus.Collector. If two certificates have the same
// name and kind of key, only the one that expires later is reported.
func (m certificateMetrics) Collect(ch chan<- prometheus.Metric) {
	left := map[[2]string]float64{}
	for _, leaf := range m.certs.Leaves() {
		id := [2]string{certificateName(leaf), strings.ToLower(leaf.PublicKeyAlgorithm.String())}
		left[id] = max(left[id], time.Until(leaf.NotAfter).Seconds())
	}
	for id, seconds := range left {
		ch <- prometheus.MustNewConstMetric(certificateLeft, prometheus.GaugeValue, seconds, id[0], id[1])
	}
}

func certificateName(leaf *x509.Certificate) string {
	if len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	return leaf.Subject.CommonName
}

// expiryNotices records the notices about expiring certificates that were sent.
// It is kept across restarts.
type expiryNotices struct {
	path string
	// Sent maps the fingerprint of a certificate to the number of days, from
	// noticeDays, of its last notice.
	Sent map[string]int `json:"sent"`
}

// noticeDays lists the numbers of days before a certificate's expiry at which
// the postmaster is notified.
var noticeDays = []int{14, 3}

func loadNotices(path string) *expiryNotices {
	n := &expiryNotices{path: path}
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, n) != nil {
		n.Sent = nil
	}
	if n.Sent == nil {
		n.Sent = map[string]int{}
	}
	return n
}

// due returns the certificates for which a notice is due, and forgets those
// that are no longer used.
func (n *expiryNotices) due(leaves []*x509.Certificate, now time.Time) []*x509.Certificate {
	var list []*x509.Certificate
	used := map[string]bool{}
	for _, leaf := range leaves {
		sum := sha256.Sum256(leaf.Raw)
		id := hex.EncodeToString(sum[:8])
		used[id] = true
		stage := 0
		for _, days := range noticeDays {
			if leaf.NotAfter.Sub(now) <= time.Duration(days)*24*time.Hour {
				stage = days
			}
		}
		if before, ok := n.Sent[id]; stage == 0 || ok && before <= stage {
			continue
		}
		n.Sent[id] = stage
		list = append(list, leaf)
	}
	for id := range n.Sent {
		if !used[id] {
			delete(n.Sent, id)
		}
	}
	return list
}

func (n *expiryNotices) save() error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return files.Write(n.path, append(b, '\n'), 0o640)
}

// watchCertificates logs certificates that expire soon and notifies the
// postmaster, until ctx ends.
func (s *Server) watchCertificates(ctx context.Context) {
	notices := loadNotices(s.runtime.path("state/certificates.json"))
	for {
		s.noticeCertificates(ctx, notices)
		select {
		case <-time.After(time.Hour):
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) noticeCertificates(ctx context.Context, notices *expiryNotices) {
	current := s.runtime.certificates.Load()
	if current == nil {
		return
	}
	now := time.Now()
	list := notices.due(current.certs.Leaves(), now)
	for _, leaf := range list {
		s.Log.Warn().Str("name", certificateName(leaf)).Time("expires", leaf.NotAfter).Msg("certificate expires soon")
		subject, text := expiryText(current.Config, leaf, now)
		if err := s.mailPostmaster(ctx, current.Config, subject, text); err != nil {
			s.Log.Error().Err(err).Msg("notice about a certificate")
		}
	}
	if len(list) > 0 {
		if err := notices.save(); err != nil {
			s.Log.Warn().Err(err).Msg("state of notices about certificates")
		}
	}
}

// expiryText returns the subject and text of a notice.
func expiryText(cfg *config.Config, leaf *x509.Certificate, now time.Time) (subject, text string) {
	name := certificateName(leaf)
	days := max(0, int(leaf.NotAfter.Sub(now).Hours()/24))
	subject = fmt.Sprintf("The certificate of %s expires in %d days", name, days)
	text = fmt.Sprintf("The certificate of %s expires on %s, in %d days. Clients will then refuse\r\nto connect, or warn their users.\r\n\r\n",
		strings.Join(leaf.DNSNames, ", "), leaf.NotAfter.UTC().Format("2 January 2006, 15:04 UTC"), days)
	if cfg.ACME != nil && slices.Contains(cfg.ACMENames(), name) {
		return subject, text + "It should have been renewed. The log of " + cfg.Hostname + " says why it was not;\r\n\"hoplite certificate renew " + name + "\" tries again at once.\r\n"
	}
	return subject, text + "Replace its files: " + cfg.Hostname + " reads them again when they change.\r\n"
}

// mailPostmaster queues a message to the postmaster. It does nothing if there
// is no postmaster.
func (s *Server) mailPostmaster(ctx context.Context, cfg *config.Config, subject, text string) error {
	to, err := mail.ParseAddress(cfg.Postmaster)
	if err != nil {
		return nil
	}
	tx := mail.NewTransaction(mail.Client{}, "")
	tx.Hostname = cfg.Hostname
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Hoplite <MAILER-DAEMON@%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n%s",
		cfg.Hostname, to, subject, time.Now().Format(time.RFC1123Z), tx.ID, cfg.Hostname, text)
	m, err := mail.NewMessage(mail.Bytes(b.Bytes()))
	if err != nil {
		return err
	}
	return s.runtime.sendOwn(ctx, tx, to, m)
}
