package smime

import (
	"crypto/x509"

	"hoplite/mail/smime/smimetest"
)

type person = smimetest.Person

var (
	issue      = smimetest.Issue
	issueFor   = smimetest.IssueFor
	newEd25519 = smimetest.NewEd25519
	now        = smimetest.Now
	clear      = smimetest.ClearSigned
	wrapped    = smimetest.Opaque
	compressed = smimetest.Compressed
	b64        = smimetest.Base64
)

const (
	outer = smimetest.Outer
	text  = smimetest.Text
)

// pool returns a Trust with the given roots.
func pool(roots ...*person) *Trust {
	t, _ := NewTrust("system")
	t.roots = rootSet{pool: x509.NewCertPool()}
	for _, r := range roots {
		t.roots.add(r.Cert)
	}
	return t
}
