package smime

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"hoplite/mail"
	"hoplite/mail/cms"
	"hoplite/mail/smime/smimetest"
)

// authority publishes the serial numbers of a root's revoked certificates.
type authority struct {
	root    *person
	revoked []x509.RevocationListEntry
	asked   atomic.Int32
	gate    chan struct{} // if not nil, answers wait for it
}

func (a *authority) crl(t testing.TB) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour),
		RevokedCertificateEntries: a.revoked,
	}, a.root.Cert, a.root.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) serve(t testing.TB) string {
	list := a.crl(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		if a.gate != nil {
			select {
			case <-a.gate:
			case <-r.Context().Done():
				return
			}
		}
		switch r.URL.Path {
		case "/crl":
			w.Write(list)
		case "/ocsp":
			w.Write(a.ocsp(t, r))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func (a *authority) ocsp(t testing.TB, r *http.Request) []byte {
	var b bytes.Buffer
	b.ReadFrom(r.Body)
	req, err := ocsp.ParseRequest(b.Bytes())
	if err != nil {
		t.Error(err)
		return nil
	}
	return a.answer(t, req.SerialNumber)
}

func (a *authority) answer(t testing.TB, serial *big.Int) []byte {
	resp := ocsp.Response{Status: ocsp.Good, SerialNumber: serial, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	for _, e := range a.revoked {
		if e.SerialNumber.Cmp(serial) == 0 {
			resp.Status, resp.RevokedAt = ocsp.Revoked, e.RevocationTime
		}
	}
	der, err := ocsp.CreateResponse(a.root.Cert, a.root.Cert, resp, a.root.Key)
	if err != nil {
		t.Error(err)
	}
	return der
}

func TestRevocation(t *testing.T) {
	a := &authority{root: issue(t, nil, "Root", func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} })}
	crlURL, ocspURL := "", ""
	by := func(crl, ocsp bool) *person {
		return issue(t, a.root, "ann@example.org", func(c *x509.Certificate) {
			if crl {
				c.CRLDistributionPoints = []string{crlURL}
			}
			if ocsp {
				c.OCSPServer = []string{ocspURL}
			}
		})
	}
	gone := map[string]*person{}
	// Serial numbers must be assigned before the list is signed.
	for range 3 {
		a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: big.NewInt(smimetest.Serials + int64(len(a.revoked)) + 1), RevocationTime: now.Add(-24 * time.Hour)})
	}
	url := a.serve(t)
	crlURL, ocspURL = url+"/crl", url+"/ocsp"
	gone["crl"], gone["ocsp"], gone["early"] = by(true, false), by(false, true), by(true, false)
	fine := map[string]*person{"crl": by(true, false), "ocsp": by(false, true), "neither": by(false, false)}
	for _, c := range []struct {
		name, mode string
		signer     *person
		at         time.Time
		want       string // the verdict and the revocation status
	}{
		{"off", RevokeOff, gone["crl"], now, "good "},
		{"cached, nothing known", RevokeCached, gone["crl"], now, "good unknown"},
		{"revoked by CRL", RevokeHard, gone["crl"], now, "bad revoked"},
		{"revoked by OCSP", RevokeHard, gone["ocsp"], now, "bad revoked"},
		{"revoked later", RevokeHard, gone["early"], now.Add(-48 * time.Hour), "good unknown"},
		{"good by CRL", RevokeHard, fine["crl"], now, "good good"},
		{"good by OCSP", RevokeHard, fine["ocsp"], now, "good good"},
		{"no source", RevokeHard, fine["neither"], now, "good good"},
		{"list too old", RevokeHard, fine["crl"], now.Add(72 * time.Hour), "good unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			msg := mail.Bytes(clear(outer, text, c.signer.Sign(t, []byte(text), true, c.at)))
			rev := NewRevocation(c.mode, t.TempDir())
			rev.wait = time.Minute // a slow machine must not affect the result
			rep, err := (&Checker{Trust: pool(a.root), At: c.at, Revocation: rev}).
				Message(context.Background(), msg, msg.Size())
			if err != nil {
				t.Fatal(err)
			}
			if got := rep.Verdict + " " + rep.Layers[0].Signers[0].Revocation; got != c.want {
				t.Errorf("%s, want %s (%+v)", got, c.want, rep.Findings)
			}
		})
	}
}

// TestRevocationSoft checks that in soft mode, the first message does not wait,
// and the next one uses the answer.
func TestRevocationSoft(t *testing.T) {
	a := &authority{root: issue(t, nil, "Root", func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} }), gate: make(chan struct{})}
	a.revoked = []x509.RevocationListEntry{{SerialNumber: big.NewInt(smimetest.Serials + 1), RevocationTime: now.Add(-time.Hour)}}
	url := a.serve(t)
	ann := issue(t, a.root, "ann@example.org", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{url + "/crl"} })
	msg := mail.Bytes(clear(outer, text, ann.Sign(t, []byte(text), true, now)))
	rev := NewRevocation(RevokeSoft, t.TempDir())
	checker := &Checker{Trust: pool(a.root), At: now, Revocation: rev}
	verdict := func() string {
		rep, err := checker.Message(context.Background(), msg, msg.Size())
		if err != nil {
			t.Fatal(err)
		}
		return rep.Verdict
	}
	if got := verdict() + " " + verdict(); got != "good good" {
		t.Errorf("before it is known: %s", got)
	}
	close(a.gate)
	deadline := time.Now().Add(time.Minute)
	for verdict() != "bad" {
		if time.Now().After(deadline) {
			t.Fatal("never known")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := a.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestRevocationHard checks that in hard mode, the check waits for the answer,
// and a missing answer is reported as a finding.
func TestRevocationHard(t *testing.T) {
	a := &authority{root: issue(t, nil, "Root", func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} })}
	url := a.serve(t)
	ann := issue(t, a.root, "ann@example.org", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{url + "/nothing"} })
	msg := clear(outer, text, ann.Sign(t, []byte(text), true, now))
	c := &Checker{Trust: pool(a.root), At: now, Revocation: NewRevocation(RevokeHard, t.TempDir())}
	rep, err := c.Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
	if err != nil || rep.Verdict != "good" || !rep.Has("revocation_unknown") {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestRevocationStapled checks that revocation data in the message is used (RFC
// 5940).
func TestRevocationStapled(t *testing.T) {
	a := &authority{root: issue(t, nil, "Root", func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} })}
	ann := issue(t, a.root, "ann@example.org", nil)
	other := issue(t, nil, "Other", func(c *x509.Certificate) { c.SubjectKeyId = []byte{2} })
	v := NewRevocation(RevokeCached, t.TempDir())
	ask := func(s *cms.Signed) status {
		st, _ := v.check(context.Background(), ann.Cert, a.root.Cert, s, now)
		return st
	}
	if got := ask(&cms.Signed{CRLs: [][]byte{a.crl(t)}}); got != statusGood {
		t.Errorf("CRL: %s", got)
	}
	if got := ask(&cms.Signed{OCSP: [][]byte{a.answer(t, ann.Cert.SerialNumber)}}); got != statusGood {
		t.Errorf("OCSP: %s", got)
	}
	a.revoked = []x509.RevocationListEntry{{SerialNumber: ann.Cert.SerialNumber, RevocationTime: now.Add(-time.Hour)}}
	if got := ask(&cms.Signed{CRLs: [][]byte{a.crl(t)}}); got != statusRevoked {
		t.Errorf("CRL: %s", got)
	}
	forged := &authority{root: other, revoked: a.revoked}
	if got := ask(&cms.Signed{CRLs: [][]byte{forged.crl(t)}, OCSP: [][]byte{forged.answer(t, ann.Cert.SerialNumber), []byte("x")}}); got != statusUnknown {
		t.Errorf("another authority's: %s", got)
	}
}
