package mtasts

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/internal/resolve"
)

const good = "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.net\r\nmx: *.mail.example.net\r\nmax_age: 604800\r\n"

func TestParsePolicy(t *testing.T) {
	tests := map[string]struct {
		text string
		want Policy
		err  string
	}{
		"good":            {good, Policy{Enforce, []string{"mx1.example.net", "*.mail.example.net"}, 168 * time.Hour}, ""},
		"LF only":         {strings.ReplaceAll(good, "\r\n", "\n"), Policy{Enforce, []string{"mx1.example.net", "*.mail.example.net"}, 168 * time.Hour}, ""},
		"extra fields":    {"version: STSv1\nmode: testing\nx-note: hello\nmx: A.Example.NET.\nmax_age: 60\n", Policy{Testing, []string{"a.example.net"}, time.Minute}, ""},
		"none":            {"version: STSv1\nmode: none\nmax_age: 86400\n", Policy{None, nil, 24 * time.Hour}, ""},
		"repeated mode":   {"version: STSv1\nmode: testing\nmode: enforce\nmx: a.example\nmax_age: 60", Policy{Testing, []string{"a.example"}, time.Minute}, ""},
		"too long":        {"version: STSv1\nmode: none\nmax_age: 4000000000\n", Policy{None, nil, maxMaxAge}, ""},
		"version missing": {"mode: enforce\nmx: a.example\nmax_age: 60\n", Policy{}, "does not begin"},
		"version later":   {"mode: enforce\nversion: STSv1\nmx: a.example\nmax_age: 60\n", Policy{}, "does not begin"},
		"other version":   {"version: STSv2\nmode: enforce\nmx: a.example\nmax_age: 60\n", Policy{}, "does not begin"},
		"unknown mode":    {"version: STSv1\nmode: strict\x1b[2J\nmx: a.example\nmax_age: 60\n", Policy{}, "mode"},
		"no max_age":      {"version: STSv1\nmode: enforce\nmx: a.example\n", Policy{}, "no max_age"},
		"bad max_age":     {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1\n", Policy{}, "not a number"},
		"no servers":      {"version: STSv1\nmode: enforce\nmax_age: 60\n", Policy{}, "no mail servers"},
		"empty":           {"", Policy{}, "unknown"},
		"a page":          {"<html><body>Not found</body></html>", Policy{}, "unknown"},
	}
	for name, tt := range tests {
		got, err := ParsePolicy(tt.text)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
			continue
		}
		if err != nil || got.Mode != tt.want.Mode || got.MaxAge != tt.want.MaxAge || !slices.Equal(got.MX, tt.want.MX) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAllows(t *testing.T) {
	p := Policy{MX: []string{"mx1.example.net", "*.mail.example.net"}}
	for host, want := range map[string]bool{
		"mx1.example.net": true, "MX1.example.net.": true, "mx2.example.net": false, "a.mail.example.net": true,
		"a.b.mail.example.net": false, "mail.example.net": false, "example.net": false, "": false, "evil-mx1.example.net": false,
	} {
		if got := p.Allows(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestParseRecord(t *testing.T) {
	tests := map[string]struct {
		txt  []string
		want string
	}{
		"good":          {[]string{"v=STSv1; id=20260101;"}, "20260101"},
		"beside others": {[]string{"v=spf1 -all", "v=STSv1; id=1; x=y"}, "1"},
		"two":           {[]string{"v=STSv1; id=1", "v=STSv1; id=2"}, ""},
		"none":          {nil, ""},
		"no id":         {[]string{"v=STSv1; "}, ""},
		"wrong version": {[]string{"v=STSv10; id=1"}, ""},
		"id too long":   {[]string{"v=STSv1; id=" + strings.Repeat("1", 33)}, ""},
	}
	for name, tt := range tests {
		if got := parseRecord(tt.txt); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// world simulates DNS and a policy host.
type world struct {
	id      string
	dnsFail bool
	status  int
	kind    string
	text    string
	fetched int
	url     string
}

func (w *world) Lookup(_ context.Context, name string, t resolve.Type) (resolve.Answer, error) {
	switch {
	case w.dnsFail:
		return resolve.Answer{}, resolve.ErrTemporary
	case w.id == "" || name != "_mta-sts.example.net" || t != resolve.TXT:
		return resolve.Answer{}, resolve.ErrNotFound
	}
	return resolve.Answer{Records: []resolve.Record{{Text: "v=STSv1; id=" + w.id}}}, nil
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.fetched++
	w.url = r.URL.String()
	if w.status == 0 {
		return nil, errors.New("connection refused")
	}
	h := http.Header{"Content-Type": {w.kind}}
	if w.status == http.StatusFound {
		h.Set("Location", "https://elsewhere.example/")
	}
	return &http.Response{StatusCode: w.status, Status: http.StatusText(w.status), Header: h, Body: io.NopCloser(strings.NewReader(w.text)), Request: r}, nil
}

func (w *world) cache(path string) *Cache { return New(w, &http.Client{Transport: w}, path) }

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "mta-sts.json")
		w := &world{id: "1", status: 200, kind: "text/plain; charset=utf-8", text: good}
		c := w.cache(path)
		look := func(step string, want bool, fetched int) {
			t.Helper()
			p, ok := c.Lookup(t.Context(), "example.net")
			if ok != want || w.fetched != fetched || ok && p.Mode != Enforce {
				t.Errorf("%s: %+v, %v after %d fetches, want %v after %d", step, p, ok, w.fetched, want, fetched)
			}
		}
		look("first", true, 1)
		if w.url != "https://mta-sts.example.net/.well-known/mta-sts.txt" {
			t.Errorf("fetched %s", w.url)
		}
		look("again", true, 1)
		w.id = "2"
		time.Sleep(retryAfter)
		look("new id", true, 2)
		time.Sleep(refreshAfter)
		look("a day later", true, 3)
		w.status = 0
		w.id = "3"
		time.Sleep(retryAfter)
		look("the host is down", true, 4)
		look("not asked again at once", true, 4)
		c = w.cache(path)
		w.id = ""
		look("the record is gone, after a restart", true, 4)
		w.dnsFail = true
		look("DNS is down", true, 4)
		time.Sleep(8 * 24 * time.Hour)
		look("its time is over", false, 4)
		w.dnsFail, w.id, w.status = false, "4", 200
		w.text = "version: STSv1\nmode: none\nmax_age: 60\n"
		look("the domain gives it up", false, 5)
	})
}

func TestFetchRefuses(t *testing.T) {
	tests := map[string]world{
		"not found":      {status: 404, kind: "text/plain", text: good},
		"a redirect":     {status: 302, kind: "text/plain", text: good},
		"a page":         {status: 200, kind: "text/html", text: good},
		"no type":        {status: 200, text: good},
		"too large":      {status: 200, kind: "text/plain", text: good + strings.Repeat("x: y\n", maxPolicySize)},
		"not a policy":   {status: 200, kind: "text/plain", text: "hello"},
		"no connection":  {},
		"no such record": {status: 200, kind: "text/plain", text: good, id: "-"},
	}
	for name, w := range tests {
		w.id = "1"
		if name == "no such record" {
			w.id = ""
		}
		if p, ok := w.cache("").Lookup(t.Context(), "example.net"); ok {
			t.Errorf("%s: %+v", name, p)
		}
		if want := name != "no such record"; (w.fetched == 1) != want {
			t.Errorf("%s: fetched %d times", name, w.fetched)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(good)
	f.Add("version: STSv1\nmode: none\nmax_age: 1")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(text)
		if err == nil && (p.MaxAge < 0 || p.MaxAge > maxMaxAge || len(p.MX) > maxMX || p.Mode != None && len(p.MX) == 0) {
			t.Errorf("%+v", p)
		}
		p.Allows(text)
		parseRecord([]string{text})
	})
}
