package web

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// STSConfig is the mta_sts "DOMAIN" { ... } block in web: the MTA-STS policy
// (RFC 8461) of one of our domains, which is served at
// https://mta-sts.DOMAIN/.well-known/mta-sts.txt. It asks other servers to
// deliver mail for the domain over verified TLS only.
type STSConfig struct {
	conf.Pos
	Domain string `hcl:"domain,label"`
	// Mode is "testing" (other servers only report failures), "enforce" (they do not
	// deliver without verified TLS) or "none", with which a policy is withdrawn.
	Mode string `hcl:"mode,optional" enum:"testing|enforce|none" default:"testing"`
	// MX lists the names of the domain's mail servers as in its MX records;
	// "*.example.org" stands for one label. The default is hostname.
	MX []string `hcl:"mx,optional" example:"mail.example.org"`
	// MaxAge is how long other servers keep the policy, at most 365 days.
	MaxAge time.Duration `hcl:"max_age,optional" default:"14d"`
}

// maxSTSAge is the longest max_age (RFC 8461, 3.2).
const maxSTSAge = 365 * 24 * time.Hour

// Check reports values that RFC 8461 does not allow.
func (c *STSConfig) Check() error {
	var errs []error
	if _, err := mail.ParseDomain(c.Domain); err != nil {
		errs = append(errs, fmt.Errorf("mta_sts %q: %w", c.Domain, err))
	}
	for _, mx := range c.MX {
		if _, err := mail.ParseDomain(strings.TrimPrefix(mx, "*.")); err != nil || net.ParseIP(mx) != nil {
			errs = append(errs, conf.Fieldf("mx", "%q is not the name of a mail server", mx))
		}
	}
	if c.MaxAge < time.Hour || c.MaxAge > maxSTSAge {
		errs = append(errs, conf.Fieldf("max_age", "a policy is kept for between 1h and 365d"))
	}
	return errors.Join(errs...)
}

// Host returns the name of the policy host.
func (c *STSConfig) Host() string {
	d, err := mail.ParseDomain(c.Domain)
	if err != nil {
		d = c.Domain
	}
	return "mta-sts." + d
}

// Servers returns the names of the mail servers; hostname is the default.
func (c *STSConfig) Servers(hostname string) []string {
	if len(c.MX) == 0 {
		return []string{hostname}
	}
	list := make([]string, len(c.MX))
	for i, mx := range c.MX {
		host, wildcard := strings.CutPrefix(mx, "*.")
		d, _ := mail.ParseDomain(host)
		list[i] = cmp.Or(d, host)
		if wildcard {
			list[i] = "*." + list[i]
		}
	}
	return list
}

// Policy returns the policy file (RFC 8461, 3.2).
func (c *STSConfig) Policy(hostname string) string {
	var b strings.Builder
	b.WriteString("version: STSv1\r\nmode: " + c.Mode + "\r\n")
	for _, mx := range c.Servers(hostname) {
		b.WriteString("mx: " + mx + "\r\n")
	}
	b.WriteString("max_age: " + strconv.Itoa(int(c.MaxAge.Seconds())) + "\r\n")
	return b.String()
}

// Record returns the TXT record to publish at _mta-sts.DOMAIN. Its id changes
// with the policy.
func (c *STSConfig) Record(hostname string) string {
	sum := sha256.Sum256([]byte(c.Policy(hostname)))
	return "v=STSv1; id=" + hex.EncodeToString(sum[:8])
}

// withPolicies answers requests for the MTA-STS policies of our domains. Other
// servers send them to the policy hosts, under which no page is served.
func (s *Server) withPolicies(next http.Handler) http.Handler {
	policies := map[string]string{}
	for _, c := range s.cfg.MTASTS {
		policies[c.Host()] = c.Policy(s.env.Hostname)
	}
	if len(policies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy, ok := policies[strings.ToLower(hostOf(r.Host))]
		if !ok || r.URL.Path != "/.well-known/mta-sts.txt" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Length", strconv.Itoa(len(policy)))
		w.Write([]byte(policy))
	})
}
