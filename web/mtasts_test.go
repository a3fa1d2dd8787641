package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/relay/forward/mtasts"
)

func policyOf(domain, mode string, mx ...string) *STSConfig {
	c := &STSConfig{}
	conf.Defaults(c)
	c.Domain, c.Mode, c.MX = domain, mode, mx
	return c
}

func TestServePolicy(t *testing.T) {
	s, err := New(Config{MTASTS: []*STSConfig{
		policyOf("Example.org", "enforce", "MAIL.example.org", "*.example.net"), policyOf("bücher.example", "testing"),
	}}, Env{Hostname: "mail.example.org", Log: zerolog.Nop(), Links: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	const path = "/.well-known/mta-sts.txt"
	for _, tt := range []struct {
		method, host, path string
		status             int
		want               string
	}{
		{"GET", "mta-sts.example.org", path, 200, "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmx: *.example.net\r\nmax_age: 1209600\r\n"},
		{"GET", "MTA-STS.example.org:443", path, 200, "mode: enforce\r\n"},
		{"GET", "mta-sts.example.org.", path, 200, "mode: enforce\r\n"},
		{"GET", "mta-sts.xn--bcher-kva.example", path, 200, "mode: testing\r\nmx: mail.example.org\r\n"},
		{"HEAD", "mta-sts.example.org", path, 200, ""},
		{"POST", "mta-sts.example.org", path, http.StatusMisdirectedRequest, "unknown host name"},
		{"GET", "mta-sts.example.org", "/", http.StatusMisdirectedRequest, "unknown host name"},
		{"GET", "mta-sts.example.net", path, http.StatusMisdirectedRequest, "unknown host name"},
		{"GET", "mail.example.org", path, http.StatusNotFound, "Page not found"},
	} {
		r := httptest.NewRequest(tt.method, "http://x"+tt.path, nil)
		r.Host = tt.host
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, r)
		if body := w.Body.String(); w.Code != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s%s: %d %q, want %d %q", tt.method, tt.host, tt.path, w.Code, body, tt.status, tt.want)
		}
		if tt.status == 200 && !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%s: type %q (RFC 8461, 3.2 requires text/plain)", tt.host, w.Header().Get("Content-Type"))
		}
	}
}

// The client side accepts what is served.
func TestPolicyIsValid(t *testing.T) {
	for _, mode := range []string{"testing", "enforce", "none"} {
		p, err := mtasts.ParsePolicy(policyOf("example.org", mode, "*.example.org").Policy("mail.example.org"))
		if err != nil || string(p.Mode) != mode || p.MaxAge != 14*24*time.Hour || !p.Allows("mx1.example.org") || p.Allows("example.org") {
			t.Errorf("%s: %+v, %v", mode, p, err)
		}
	}
}

func TestSTSRecord(t *testing.T) {
	a, b := policyOf("example.org", "testing"), policyOf("example.org", "enforce")
	if a.Record("mail.example.org") == b.Record("mail.example.org") {
		t.Error("the id does not change with the policy")
	}
	id, ok := strings.CutPrefix(a.Record("mail.example.org"), "v=STSv1; id=")
	if !ok || len(id) > 32 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("record %q", a.Record("mail.example.org"))
	}
}

func TestSTSCheck(t *testing.T) {
	for _, tt := range []struct {
		domain, mx string
		age        time.Duration
		want       string
	}{
		{"example.org", "mail.example.org", time.Hour, ""},
		{"example.org", "*.example.org", maxSTSAge, ""},
		{"-", "mail.example.org", time.Hour, `mta_sts "-"`},
		{"example.org", "192.0.2.1", time.Hour, "is not the name of a mail server"},
		{"example.org", "mail.*.org", time.Hour, "is not the name of a mail server"},
		{"example.org", "mail.example.org", time.Minute, "between 1h and 365d"},
		{"example.org", "mail.example.org", maxSTSAge + 1, "between 1h and 365d"},
	} {
		err := (&STSConfig{Domain: tt.domain, MX: []string{tt.mx}, MaxAge: tt.age}).Check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
