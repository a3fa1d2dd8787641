//go:build interop

package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser starts Debian's chromium; its console errors fail the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func body(t *testing.T, ctx context.Context) string {
	t.Helper()
	html, err := chromedp.Run(ctx, chromedp.OuterHTML("html"))
	if err != nil {
		t.Fatal(err)
	}
	return html
}

// shoot saves a screenshot in the folder named by $HOPLITE_SHOTS, if it is set.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("HOPLITE_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

func scheme(value string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	})
}

// openSite starts a server that the browser can reach.
func openSite(t *testing.T) *httptest.Server {
	srv, _ := testServer(t, func(c *Config, _ *Env) { c.MaxPaste = 8 << 20 })
	return srv
}

func TestInteropBrowserPaste(t *testing.T) {
	ctx := browser(t)
	srv := openSite(t)
	msg := "Authentication-Results: mx1.dest.example; spf=pass smtp.mailfrom=source.example; dkim=pass header.d=source.example; dmarc=fail header.from=source.example\n" +
		"X-Spam-Status: Yes, score=6.1 required=5.0 tests=BAYES_99\n" + synthetic(t, "skew-two-hosts")
	for _, v := range []struct {
		name, scheme string
		width        int64
	}{{"1280-light", "light", 1280}, {"1280-dark", "dark", 1280}, {"390-light", "light", 390}, {"390-dark", "dark", 390}} {
		do(t, ctx, chromedp.EmulateViewport(v.width, 900), scheme(v.scheme), chromedp.Navigate(srv.URL+"/"), chromedp.WaitVisible("#text"))
		shoot(t, ctx, "paste-"+v.name)
		quoted, _ := json.Marshal(msg)
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.querySelector('#text').value = "+string(quoted))); err != nil {
			t.Fatal(err)
		}
		do(t, ctx, chromedp.Click("main form button"), chromedp.WaitVisible(".falls"),
			chromedp.Click("#hop2 summary"), chromedp.WaitVisible("#hop2 pre"))
		shoot(t, ctx, "trace-"+v.name)
		if html := body(t, ctx); !strings.Contains(html, "2 clocks wrong") {
			t.Errorf("%s: no verdict", v.name)
		}
		wide, err := chromedp.Run(ctx, chromedp.Evaluate[float64]("document.documentElement.scrollWidth"))
		if err != nil || int64(wide) > v.width {
			t.Errorf("%s: the page is %v wide (%v)", v.name, wide, err)
		}
	}
}

// A delayed, a forged and a tampered message are shown with their findings, on
// a phone and on a desktop screen.
func TestInteropBrowserFindings(t *testing.T) {
	ctx := browser(t)
	srv := openSite(t)
	signed, err := os.ReadFile("../mail/smime/testdata/company/good.eml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct{ name, in, want string }{
		{"delayed", synthetic(t, "queue-2h-not-skew"), "waited"},
		{"forged", synthetic(t, "forged-own-name"), "suspect"},
		{"tampered", strings.Replace(string(signed), "Hello", "Hallo", 1), "the S/MIME signature is not valid"},
		{"bounce", bounce, "up.example said"},
	} {
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				quoted, _ := json.Marshal(m.in)
				do(t, ctx, chromedp.EmulateViewport(width, 900), scheme(theme), chromedp.Navigate(srv.URL+"/"), chromedp.WaitVisible("#text"))
				if _, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.querySelector('#text').value = "+string(quoted))); err != nil {
					t.Fatal(err)
				}
				do(t, ctx, chromedp.Click("main form button"), chromedp.WaitVisible("main h2"))
				shoot(t, ctx, fmt.Sprintf("%s-%d-%s", m.name, width, theme))
				if html := body(t, ctx); !strings.Contains(html, m.want) {
					t.Errorf("%s: %q is missing\n%s", m.name, m.want, html)
				}
				wide, err := chromedp.Run(ctx, chromedp.Evaluate[float64]("document.documentElement.scrollWidth"))
				if err != nil || int64(wide) > width {
					t.Errorf("%s: the page is %v wide of %d (%v)", m.name, wide, width, err)
				}
			}
		}
	}
}

// The page can be used with the keyboard alone: tab to the text, type, tab to
// the button, open a line.
func TestInteropBrowserKeyboard(t *testing.T) {
	ctx := browser(t)
	srv := openSite(t)
	do(t, ctx, chromedp.Navigate(srv.URL+"/"), chromedp.WaitVisible("#text"), chromedp.Focus("#text"),
		chromedp.KeyEvent("Received: from a.example by b.example with SMTP; Tue, 12 May 2026 08:30:00 +0000"))
	for range 8 {
		do(t, ctx, chromedp.KeyEvent("\t"))
		if on, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.activeElement.tagName")); err != nil || on == "BUTTON" {
			break
		}
	}
	do(t, ctx, chromedp.KeyEvent("\r"), chromedp.WaitVisible(".falls"), chromedp.Focus("#hop1 summary"), chromedp.KeyEvent("\r"), chromedp.WaitVisible("#hop1 pre"))
}

// A file dropped on the field is selected.
func TestInteropBrowserDrop(t *testing.T) {
	ctx := browser(t)
	srv := openSite(t)
	file, err := filepath.Abs("../mail/trace/testdata/received/synthetic/o365-chain.eml")
	if err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Navigate(srv.URL+"/"), chromedp.WaitVisible("#file"), chromedp.SetUploadFiles("#file", []string{file}),
		chromedp.Click("main form button"), chromedp.WaitVisible(".falls"))
	if html := body(t, ctx); !strings.Contains(html, "40.107.8.101") {
		t.Error("the file was not read")
	}
	shoot(t, ctx, "o365")
}

// No text in a header is executed, loaded or hidden.
func TestInteropBrowserHostile(t *testing.T) {
	ctx := browser(t)
	srv := openSite(t)
	evil := `"><img src=x onerror="window.owned=1"><script>window.owned=1</script></textarea><svg onload="window.owned=1">` + "\u202e"
	many := strings.Repeat("Received: from a.example ([192.0.2.1]) by b.example with SMTP; Tue, 12 May 2026 08:30:00 +0000\n", 10_000)
	for name, msg := range map[string]string{
		"script":      "Received: from " + evil + " (" + evil + ") by " + evil + "; Tue, 12 May 2026 08:30:00 +0000\nSubject: " + evil + "\nFrom: " + evil + "\nAuthentication-Results: " + evil + "; spf=" + evil + "\n",
		"10,000 hops": many,
		"8 MiB":       many + strings.Repeat("X-Long: "+strings.Repeat("y", 900)+"\n", 7300),
	} {
		do(t, ctx, chromedp.Navigate(srv.URL+"/"), chromedp.WaitVisible("#text"))
		file := filepath.Join(t.TempDir(), "m.eml")
		if err := os.WriteFile(file, []byte(msg), 0o600); err != nil {
			t.Fatal(err)
		}
		do(t, ctx, chromedp.SetUploadFiles("#file", []string{file}), chromedp.Click("main form button"), chromedp.WaitVisible(".falls"))
		owned, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!window.owned || document.scripts.length > 0 || document.images.length > 0"))
		if err != nil || owned {
			t.Errorf("%s: a stranger's script or picture is in the page (%v)", name, err)
		}
		if name == "script" {
			shoot(t, ctx, "hostile")
		}
	}
}

// A user logs in, views a message's history, and performs a dry run.
func TestInteropBrowserStory(t *testing.T) {
	ctx := browser(t)
	srv := openSite(t)
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(srv.URL+"/login"), chromedp.WaitVisible("input[name=name]"),
		chromedp.SendKeys("input[name=name]", "root@a.example"), chromedp.SendKeys("input[name=password]", "right"))
	shoot(t, ctx, "login")
	do(t, ctx, chromedp.Click("main form button"), chromedp.WaitVisible("input[name=id]"), chromedp.SendKeys("input[name=id]", "q1"), chromedp.Click("main form button"), chromedp.WaitVisible(".story"))
	shoot(t, ctx, "story")
	if html := body(t, ctx); !strings.Contains(html, "secret@a.example") {
		t.Error("the admin does not see the story")
	}
	do(t, ctx, chromedp.Navigate(srv.URL+"/chain"), chromedp.WaitVisible("input[name=ip]"), chromedp.SendKeys("input[name=ip]", "192.0.2.1"), chromedp.Click("main form button"), chromedp.WaitVisible("main pre"))
	shoot(t, ctx, "chain")
}
