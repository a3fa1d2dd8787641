package check

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
)

// checkOldTLS finds settings for old clients and servers that have no effect.
func checkOldTLS(cfg *config.Config, diags *conf.Diagnostics) {
	keys := certificateKeys(cfg)
	for _, l := range cfg.Listeners() {
		if !slices.ContainsFunc(l.Listen, func(at conf.Listen) bool { return l.Mode(at) != "off" }) {
			continue
		}
		warnEnded(l.Title, l.Pos, l.TLSLegacyUntil, diags)
		if len(l.TLSSuites) == 0 || len(keys) == 0 || slices.ContainsFunc(l.TLSSuites, func(suite string) bool { return usable(suite, keys) }) {
			continue
		}
		diags.Warn(l.Pos.Attr("tls_suites"), fmt.Sprintf("no certificate of %s can be used with its tls_suites", l.Title),
			fmt.Sprintf("The certificates have %s keys. Old clients need an RSA certificate beside them.", strings.Join(keys, " and ")))
	}
	for _, u := range cfg.Upstream {
		warnEnded(fmt.Sprintf("upstream %q", u.Name), &u.Pos, u.TLSLegacyUntil, diags)
	}
}

// warnEnded warns about a last day that is over.
func warnEnded(title string, at *conf.Pos, until string, diags *conf.Diagnostics) {
	profile, err := listen.ParseProfile("", nil, until)
	if err != nil || profile.Until.IsZero() || time.Now().Before(profile.Until) {
		return
	}
	diags.Warn(at.Attr("tls_legacy_until"), fmt.Sprintf("%s no longer uses weak TLS: tls_legacy_until was %s", title, until),
		"Remove tls_min, tls_suites and tls_legacy_until, or choose a later day.")
}

// certificateKeys returns the kinds of keys of the certificates for clients:
// "ECDSA", "RSA". It is empty if a certificate cannot be read.
func certificateKeys(cfg *config.Config) (kinds []string) {
	add := func(kind string) {
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if len(cfg.Certificate) == 0 && cfg.ACME == nil {
		return []string{"ECDSA"} // the self-signed certificate
	}
	for i := range cfg.Certificate {
		t := &cfg.Certificate[i]
		certs, err := listen.LoadCerts([]listen.Pair{{Cert: cfg.Under(t.Cert), Key: cfg.Under(t.Key)}}, zerolog.Nop())
		if err != nil {
			return nil
		}
		for _, leaf := range certs.Leaves() {
			if leaf.PublicKeyAlgorithm == x509.RSA {
				add("RSA")
			} else {
				add("ECDSA")
			}
		}
	}
	if cfg.ACME != nil {
		for _, k := range cfg.ACME.Keys {
			add(strings.ToUpper(k))
		}
	}
	return kinds
}

// usable reports whether a suite works with a certificate that has a key of one
// of the kinds.
func usable(suite string, kinds []string) bool {
	suite = strings.ToUpper(suite)
	switch {
	case strings.HasPrefix(suite, "TLS_ECDHE_ECDSA_"):
		return slices.Contains(kinds, "ECDSA")
	case strings.HasPrefix(suite, "TLS_RSA_"), strings.HasPrefix(suite, "TLS_ECDHE_RSA_"):
		return slices.Contains(kinds, "RSA")
	}
	return true // a suite of TLS 1.3
}
