package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/mail"
	"hoplite/mail/story"
)

// testServer starts a server with the accounts ann and root, and one message in
// history.
func testServer(t *testing.T, change func(*Config, *Env)) (*httptest.Server, *http.Client) {
	t.Helper()
	tx := mail.NewTransaction(mail.Client{Helo: "<b>client</b>"}, "eve@b.example")
	tx.Envelope.Rcpts = []mail.Rcpt{{To: "ann@a.example", Orig: "ann@a.example"}, {To: "secret@a.example", Orig: "secret@a.example"}}
	data, err := json.Marshal(story.Summary{Transaction: tx, Verdict: "accepted", Reply: *mail.NewReply(250, "2.0.0", "ok")})
	if err != nil {
		t.Fatal(err)
	}
	record := history.Record{ID: "q1", At: time.Now(), Kind: "transaction", MessageID: "m1@b.example", From: "eve@b.example", To: []string{"ann@a.example", "secret@a.example"}, Data: data}
	cfg := Config{MaxPaste: 1 << 20, KeepLinks: 24 * time.Hour, SessionTime: time.Hour, Open: true}
	env := Env{
		Hostname: "mx.example.org", Log: zerolog.Nop(), Links: t.TempDir(),
		Login: func(_ context.Context, _ netip.Addr, name, password string) (Account, error) {
			if password != "right" {
				return Account{}, ErrLogin
			}
			return Account{Name: name, Admin: name == "root@a.example"}, nil
		},
		Find: func(_ context.Context, q history.Query) ([]history.Record, error) {
			if q.ID == "q1" || q.MessageID != "" || q.To != "" || q.From != "" {
				return []history.Record{record}, nil
			}
			return nil, nil
		},
		Explain: func(_ context.Context, q Question) ([]string, error) {
			return []string{"size pass", "route for " + q.To}, nil
		},
	}
	if change != nil {
		change(&cfg, &env)
	}
	s, err := New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	jar, _ := cookiejar.New(nil)
	return srv, &http.Client{Jar: jar, Timeout: 30 * time.Second}
}

func get(t *testing.T, c *http.Client, u string) (int, string, http.Header) {
	t.Helper()
	resp, err := c.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t *testing.T, resp *http.Response) (int, string, http.Header) {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func post(t *testing.T, c *http.Client, u string, v url.Values) (int, string, http.Header) {
	t.Helper()
	resp, err := c.PostForm(u, v)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

func token(t *testing.T, page string) string {
	t.Helper()
	m := tokenField.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no token in\n%s", page)
	}
	return m[1]
}

func synthetic(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("../mail/trace/testdata/received/synthetic/" + name + ".eml")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestTracePage(t *testing.T) {
	srv, c := testServer(t, nil)
	for name, want := range map[string][]string{
		"clean-4hops":      {"4 hops, 6 s", "laptop.lan", "TLSv1.3", "boundary", `<mark class="f-from_ip" title="from_ip">203.0.113.5</mark>`},
		"skew-one-fast":    {"clock 5 min 1 s fast", "class=\"ghost\""},
		"forged-own-name":  {"suspect", "unless that host is ours, too"},
		"hostile-150-hops": {"150 hops", "over the hop limit"},
		"no-received":      {"no hops"},
		"loop-two-hosts":   {"mail loop", "mx2.dest.example"},
	} {
		code, body, _ := post(t, c, srv.URL+"/trace", url.Values{"text": {synthetic(t, name)}})
		if code != http.StatusOK {
			t.Errorf("%s: %d", name, code)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: %q is missing", name, w)
			}
		}
	}
}

// TestTraceFile uploads files of several kinds.
func TestTraceFile(t *testing.T) {
	srv, c := testServer(t, nil)
	outlook, err := os.ReadFile("../mail/trace/intake/testdata/msg/gpg_signed.msg")
	if err != nil {
		t.Fatal(err)
	}
	unsent, err := os.ReadFile("../mail/trace/intake/testdata/msg/plain_unsent.msg")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, content string
		code          int
		want          string
	}{
		{"mail.eml", synthetic(t, "clean-4hops"), 200, "4 hops, 6 s"},
		{"mail.mbox", "From a@a.example Tue May 12 08:30:06 2026\n" + synthetic(t, "clean-4hops"), 200, "4 hops, 6 s"},
		{"mail.msg", string(outlook), 200, "headers taken out of an Outlook message"},
		{"unsent.msg", string(unsent), 422, "has no Internet headers"},
		{"photo.jpg", "\xff\xd8\xff\xe0 JFIF", 422, "no header field found"},
	} {
		if code, body := upload(t, c, srv.URL, f.name, f.content); code != f.code || !strings.Contains(body, f.want) {
			t.Errorf("%s: %d, %q is missing\n%s", f.name, code, f.want, body)
		}
	}
}

// TestUploadSize checks that uploads need no temporary files, which the sandbox
// of the running server forbids, and that one that is too large is refused.
func TestUploadSize(t *testing.T) {
	srv, c := testServer(t, nil)
	t.Setenv("TMPDIR", "/nonexistent")
	head := "Received: from mail.a.example (mail.a.example [192.0.2.5]) by mx.b.example with ESMTP id 1; Tue, 12 May 2026 08:30:06 +0000\nFrom: ann@a.example\n\n"
	for _, f := range []struct {
		size, code int
		want       string
	}{
		{1<<20 - len(head), 200, "origin 192.0.2.5"},
		{1 << 20, 413, "larger than 1MiB"},
		{2 << 20, 413, "larger than 1MiB"},
		{12 << 20, 413, "larger than 1MiB"},
	} {
		if code, body := upload(t, c, srv.URL, "a.eml", head+strings.Repeat("x", f.size)); code != f.code || !strings.Contains(body, f.want) {
			t.Errorf("%d octets: %d, %q is missing\n%s", f.size, code, f.want, body)
		}
	}
}

// upload sends a file in the same way as the form on the start page.
func upload(t *testing.T, c *http.Client, server, name, content string) (int, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, _ := w.CreateFormFile("file", name)
	io.WriteString(f, content)
	w.WriteField("text", "")
	w.Close()
	resp, err := c.Post(server+"/trace", w.FormDataContentType(), &b)
	if err != nil {
		t.Fatal(err)
	}
	code, body, _ := read(t, resp)
	return code, body
}

const bounce = `From: MAILER-DAEMON@mx.b.example
Content-Type: multipart/report; report-type=delivery-status; boundary=B

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.b.example

Original-Recipient: rfc822;team@b.example
Final-Recipient: rfc822;ann@a.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; up.example
Diagnostic-Code: smtp; 550 5.1.1 <b>no such user</b>

--B
Content-Type: message/rfc822

Message-ID: <m1@b.example>
From: eve@b.example

hi
--B--
`

// TestFindings checks that the page shows the same findings as hoplite trace:
// attachments, signatures, and the bounced message in our history. It must not
// mention flags of the command.
func TestFindings(t *testing.T) {
	srv, c := testServer(t, nil)
	signed, err := os.ReadFile("../mail/smime/testdata/company/good.eml")
	if err != nil {
		t.Fatal(err)
	}
	const attached = "From: ann@a.example\nContent-Type: application/octet-stream; name=\"invoice.pdf.exe\"\nContent-Disposition: attachment; filename=\"invoice.pdf.exe\"\n\nMZ\n"
	sameOrg := "Received: from smtp.b.example (smtp.b.example [198.51.100.7]) by mx.b.example with ESMTP id 2; Tue, 12 May 2026 08:30:07 +0000\nReceived: from a.example by smtp.b.example with ESMTP id 1; Tue, 12 May 2026 08:30:06 +0000\nFrom: a@a.example\n"
	for _, f := range []struct {
		name, in  string
		want, not []string
	}{
		{"attachment", attached, []string{"invoice.pdf.exe has a double extension", "<h2>Content</h2>"}, nil},
		{"good signature", string(signed), []string{"<h2>S/MIME</h2>", "GOOD:"}, []string{"smime-bad", "is not valid"}},
		{"bad signature", strings.Replace(string(signed), "Hello", "Hallo", 1), []string{"the S/MIME signature is not valid", "<strong>problem</strong>"}, nil},
		{"bounce", bounce, []string{"ann@a.example</strong> (addressed as team@b.example)", "up.example said", "&lt;b&gt;no such user"}, []string{"In this server", "<b>no such"}},
		{"same organisation", sameOrg, []string{"looks like another server of b.example", "if that address is yours"}, nil},
	} {
		code, body, _ := post(t, c, srv.URL+"/trace", url.Values{"text": {f.in}})
		for _, w := range f.want {
			if code != 200 || !strings.Contains(body, w) {
				t.Errorf("%s: %d, %q is missing\n%s", f.name, code, w, body)
			}
		}
		for _, w := range append(f.not, "--ours", "--trusted", "--any-root", "--dns", "hoplite trace") {
			if strings.Contains(body, w) {
				t.Errorf("%s: %q is on the page", f.name, w)
			}
		}
	}
}

// TestBounceInHistory checks that history about a message is shown only to an
// account that may see the message.
func TestBounceInHistory(t *testing.T) {
	for name, known := range map[string]bool{"root@a.example": true, "ann@a.example": true, "eve@a.example": false, "": false} {
		srv, c := testServer(t, nil)
		if name != "" {
			login(t, c, srv.URL, name, "right")
		}
		for _, as := range []string{"", "json"} {
			_, body, _ := post(t, c, srv.URL+"/trace", url.Values{"text": {bounce}, "as": {as}})
			if got := strings.Contains(body, "q1"); got != known {
				t.Errorf("%q %q: history shown: %v\n%s", name, as, got, body)
			}
			if name == "ann@a.example" && strings.Contains(body, "secret@a.example") {
				t.Errorf("ann sees another recipient\n%s", body)
			}
		}
	}
}

func TestExports(t *testing.T) {
	srv, c := testServer(t, nil)
	text := url.Values{"text": {synthetic(t, "skew-two-hosts")}}
	text.Set("as", "json")
	_, body, h := post(t, c, srv.URL+"/trace", text)
	var j map[string]any
	if err := json.Unmarshal([]byte(body), &j); err != nil || len(j["hops"].([]any)) != 4 || !strings.Contains(h.Get("Content-Disposition"), "attachment") {
		t.Errorf("%v %v\n%s", err, h, body)
	}
	for _, scale := range []string{"linear", "log"} {
		text.Set("as", "svg")
		text.Set("scale", scale)
		_, body, h = post(t, c, srv.URL+"/trace", text)
		dec := xml.NewDecoder(strings.NewReader(body))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v\n%s", err, body)
			}
		}
		if !strings.HasPrefix(body, "<svg") || h.Get("Content-Type") != "image/svg+xml" {
			t.Errorf("%v\n%s", h, body)
		}
	}
	text.Set("as", "json")
	text.Set("anonymous", "1")
	_, body, _ = post(t, c, srv.URL+"/trace", text)
	for _, secret := range []string{"dest.example", "198.51.100.77", "alice", "laptop"} {
		if strings.Contains(body, secret) {
			t.Errorf("%s is in the anonymous JSON:\n%s", secret, body)
		}
	}
}

// Text from a message never becomes markup, script or a style.
func TestHostileHeaders(t *testing.T) {
	srv, c := testServer(t, nil)
	evil := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `'; DROP--`, "</textarea><script>alert(2)</script>", "</title></svg><script>x</script>",
		"\u202eevil", "{{.Token}}", "&lt;script&gt;", "\x00\x1b[31m", `<svg onload=alert(1)>`, "]]><script>",
	}
	for _, e := range evil {
		msg := fmt.Sprintf("Received: from %[1]s (%[1]s [192.0.2.1]) by %[1]s (%[1]s) with %[1]s id %[1]s for <%[1]s>; Tue, 12 May 2026 08:30:00 +0000\nReceived: from [%[1]s] by x; %[1]s\nFrom: %[1]s\nTo: %[1]s\nSubject: %[1]s\nMessage-ID: <%[1]s>\nAuthentication-Results: %[1]s; spf=%[1]s\nX-Spam-Status: Yes, score=%[1]s required=%[1]s\nX-Forefront-Antispam-Report: SCL:%[1]s;CAT:%[1]s\nDKIM-Signature: d=%[1]s; s=%[1]s\n\nbody %[1]s", e)
		for _, as := range []string{"", "svg"} {
			code, body, h := post(t, c, srv.URL+"/trace", url.Values{"text": {msg}, "as": {as}})
			if code != 200 {
				t.Errorf("%q: %d", e, code)
			}
			low := strings.ToLower(body)
			for _, bad := range []string{"<script", "<img", "<svg onload", "\x00", "\x1b", "\u202e", `href="javascript`} {
				if strings.Contains(low, bad) {
					// The hidden copy of the text is the pasted text, escaped.
					if bad == "\u202e" && as == "" {
						continue
					}
					t.Errorf("%q as %q leaves %q in the page", e, as, bad)
				}
			}
			if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("policy %q", csp)
			}
		}
	}
}

func TestGuards(t *testing.T) {
	srv, c := testServer(t, func(cfg *Config, _ *Env) { cfg.Hosts = []string{"trace.example.org"} })
	for _, tc := range []struct {
		name, method, host string
		header             map[string]string
		want               int
	}{
		{"own host name", "GET", "mx.example.org", nil, 200},
		{"configured name", "GET", "trace.example.org:8025", nil, 200},
		{"rebinding", "GET", "evil.example", nil, http.StatusMisdirectedRequest},
		{"foreign origin", "POST", "", map[string]string{"Origin": "https://evil.example"}, 403},
		{"null origin", "POST", "", map[string]string{"Origin": "null"}, 403},
		{"cross-site", "POST", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"same-site is not same-origin", "POST", "", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"own origin", "POST", "localhost", map[string]string{"Origin": "http://localhost"}, 422},
		{"wrong method", "DELETE", "", nil, 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := "/"
			if tc.method != "GET" {
				path = "/trace"
			}
			req, _ := http.NewRequest(tc.method, srv.URL+path, strings.NewReader("text=x"))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for k, v := range tc.header {
				req.Header.Set(k, v)
			}
			if tc.host != "" {
				req.Host = tc.host
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if code, body, _ := read(t, resp); code != tc.want && !(tc.want == 405 && code == 404) {
				t.Errorf("%d, want %d: %s", code, tc.want, body)
			}
		})
	}
}

func TestLargePaste(t *testing.T) {
	srv, c := testServer(t, nil)
	if code, body, _ := post(t, c, srv.URL+"/trace", url.Values{"text": {strings.Repeat("x", 1<<20+1)}}); code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", code, body)
	}
	// Over a real connection, the response may be lost while the client is
	// still writing.
	req := httptest.NewRequest("POST", "http://localhost/trace", strings.NewReader("text="+strings.Repeat("y", 5<<20)))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	srv.Config.Handler.ServeHTTP(rec, req)
	if rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", rec.Code)
	}
	many := strings.Repeat("Received: from a.example ([192.0.2.1]) by b.example with SMTP; Tue, 12 May 2026 08:30:00 +0000\n", 10_000)
	if code, body, _ := post(t, c, srv.URL+"/trace", url.Values{"text": {many}}); code != 200 || strings.Count(body, `<li class="hop `) > shownRows {
		t.Errorf("%d, %d octets", code, len(body))
	}
}

func TestLinks(t *testing.T) {
	srv, c := testServer(t, nil)
	_, body, _ := post(t, c, srv.URL+"/trace", url.Values{"text": {synthetic(t, "clean-4hops")}})
	v := url.Values{"text": {synthetic(t, "clean-4hops")}, "as": {"link"}, "keep": {"1h"}}
	if code, _, _ := post(t, c, srv.URL+"/trace", v); code != http.StatusForbidden {
		t.Errorf("a link without the form's token: %d", code)
	}
	v.Set("token", token(t, body))
	resp, err := c.PostForm(srv.URL+"/trace", v)
	if err != nil {
		t.Fatal(err)
	}
	where := resp.Request.URL.String()
	if code, body, _ := read(t, resp); code != 200 || !strings.Contains(body, "This link expires on") || !strings.Contains(where, "/link/") {
		t.Errorf("%d %s", code, where)
	}
	for _, id := range []string{"..%2f..%2fetc%2fpasswd", strings.Repeat("A", 32), "x"} {
		if code, _, _ := get(t, c, srv.URL+"/link/"+id); code != http.StatusNotFound {
			t.Errorf("%s: %d", id, code)
		}
	}
}

func TestLinksEnd(t *testing.T) {
	l := &links{dir: t.TempDir(), most: time.Hour}
	id, err := l.keep([]byte("Received: x"), 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	head, until, ok := l.find(id)
	if !ok || string(head) != "Received: x" || time.Until(until) > time.Hour {
		t.Errorf("%q %v %v", head, until, ok)
	}
	entries, _ := os.ReadDir(l.dir)
	old := l.dir + "/" + id + ".1000"
	if err := os.Rename(l.dir+"/"+entries[0].Name(), old); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := l.find(id); ok {
		t.Error("an expired link still works")
	}
	if n := l.sweep(); n != 0 {
		t.Errorf("%d links left", n)
	}
}

func login(t *testing.T, c *http.Client, base, name, password string) (int, string) {
	t.Helper()
	_, page, _ := get(t, c, base+"/login")
	code, body, _ := post(t, c, base+"/login", url.Values{"token": {token(t, page)}, "name": {name}, "password": {password}})
	return code, body
}

func TestStories(t *testing.T) {
	srv, c := testServer(t, nil)
	if _, body, _ := get(t, c, srv.URL+"/story?id=q1"); !strings.Contains(body, "type=\"password\"") {
		t.Error("a stranger sees stories")
	}
	if code, body := login(t, c, srv.URL, "ann@a.example", "wrong"); code != 403 || !strings.Contains(body, "Wrong name or password") {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := post(t, c, srv.URL+"/login", url.Values{"name": {"ann@a.example"}, "password": {"right"}}); code != 403 {
		t.Errorf("login without the form's token: %d", code)
	}
	for _, who := range []struct {
		name   string
		sees   bool
		secret bool
	}{{"ann@a.example", true, false}, {"root@a.example", true, true}, {"eve@b.example", false, false}, {"carl@a.example", false, false}} {
		jar, _ := cookiejar.New(nil)
		c.Jar = jar
		if code, _ := login(t, c, srv.URL, who.name, "right"); code != 200 {
			t.Fatalf("%s: %d", who.name, code)
		}
		_, body, _ := get(t, c, srv.URL+"/story?id=q1")
		if got := strings.Contains(body, "accepted"); got != who.sees {
			t.Errorf("%s sees the message: %v", who.name, got)
		}
		if got := strings.Contains(body, "secret@a.example"); got != who.secret {
			t.Errorf("%s sees the other recipient: %v", who.name, got)
		}
		if strings.Contains(body, "<b>") {
			t.Error("HELO is markup")
		}
		if _, _, h := get(t, c, srv.URL+"/story"); h.Get("Cache-Control") != "no-store" {
			t.Error("stories may be cached")
		}
		_, page, _ := get(t, c, srv.URL+"/chain")
		v := url.Values{"token": {token(t, page)}, "ip": {"192.0.2.1"}, "to": {"secret@a.example"}}
		if code, body, _ := post(t, c, srv.URL+"/chain", v); (code == 200) != (who.name == "root@a.example") {
			t.Errorf("%s asks for another's mail: %d %s", who.name, code, body)
		}
		v.Set("to", who.name)
		if code, body, _ := post(t, c, srv.URL+"/chain", v); code != 200 || !strings.Contains(body, "route for "+who.name) {
			t.Errorf("%s: %d", who.name, code)
		}
		v.Del("token")
		if code, _, _ := post(t, c, srv.URL+"/chain", v); code != 403 {
			t.Errorf("without a token: %d", code)
		}
		_, page, _ = get(t, c, srv.URL+"/")
		post(t, c, srv.URL+"/logout", url.Values{"token": {token(t, page)}})
		if _, body, _ := get(t, c, srv.URL+"/story?id=q1"); !strings.Contains(body, "type=\"password\"") {
			t.Errorf("%s is still logged in", who.name)
		}
	}
}

// Cookies are inaccessible to scripts and other sites.
func TestCookies(t *testing.T) {
	srv, _ := testServer(t, nil)
	resp, err := http.Get(srv.URL + "/login")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, ck := range resp.Cookies() {
		if !ck.HttpOnly || ck.SameSite != http.SameSiteStrictMode {
			t.Errorf("%+v", ck)
		}
	}
	if len(resp.Cookies()) != 1 {
		t.Errorf("%d cookies", len(resp.Cookies()))
	}
}

// A password crosses a network only over TLS. On a loopback listener the client
// is on this machine. On other listeners, a loopback address may be that of a
// proxy that received the password in clear text.
func TestLoginNeedsTLS(t *testing.T) {
	certs := testCerts(t)
	for _, tc := range []struct {
		name, listen string
		tls          bool
		proxied      string
		ok           bool
	}{
		{"loopback listener", "127.0.0.1:0", false, "", true},
		{"loopback listener behind a proxy", "127.0.0.1:0", false, "192.0.2.7", false},
		{"other listener, loopback address", "0.0.0.0:0", false, "", false},
		{"TLS", "0.0.0.0:0", true, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, client := listening(t, tc.listen, certs, tc.tls, tc.proxied)
			scheme := map[bool]string{false: "http://", true: "https://"}[tc.tls]
			resp, err := client.Get(scheme + addr + "/login")
			if err != nil {
				t.Fatal(err)
			}
			_, page, _ := read(t, resp)
			for _, ck := range resp.Cookies() {
				if ck.Secure != tc.tls {
					t.Errorf("cookie %s: secure %v over %s", ck.Name, ck.Secure, scheme)
				}
			}
			form := url.Values{"name": {"ann"}, "password": {"right"}}
			if tc.ok {
				form.Set("token", token(t, page))
			} else if resp.StatusCode != http.StatusForbidden || !strings.Contains(page, "requires TLS") {
				t.Errorf("the form is shown: %d\n%s", resp.StatusCode, page)
			}
			code, body, _ := post(t, client, scheme+addr+"/login", form)
			if refused := strings.Contains(body, "requires TLS"); refused == tc.ok || refused && code != http.StatusForbidden {
				t.Errorf("%d, refused %v: %s", code, refused, body)
			}
		})
	}
}

func testCerts(t *testing.T) *listen.Certs {
	t.Helper()
	pair, err := listen.SelfSigned(t.TempDir(), zerolog.Nop(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	certs, err := listen.LoadCerts([]listen.Pair{pair}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// listening runs a server on a listener, with implicit TLS or a PROXY line for
// each connection, and returns its loopback address and a client.
func listening(t *testing.T, on string, certs *listen.Certs, secure bool, proxied string) (string, *http.Client) {
	t.Helper()
	s, err := New(Config{MaxPaste: 1 << 20, Open: true}, Env{
		Hostname: "mx.example.org", Log: zerolog.Nop(), Links: t.TempDir(),
		Login: func(context.Context, netip.Addr, string, string) (Account, error) { return Account{Name: "ann"}, nil },
		Find:  func(context.Context, history.Query) ([]history.Record, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", on)
	if err != nil {
		t.Fatal(err)
	}
	opts := listen.Options{Log: zerolog.Nop(), TLS: listen.NewTLS(certs, listen.Profile{}), Implicit: secure, Proxy: proxied != ""}
	l := listen.New(socket, opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, func(c *listen.Conn) { s.Handle(ctx, c) }) }()
	t.Cleanup(func() { cancel(); <-done; s.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil && proxied != "" {
			_, err = fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 4000 80\r\n", proxied)
		}
		return c, err
	}
	t.Cleanup(transport.CloseIdleConnections)
	return "127.0.0.1:" + port, &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second}
}
