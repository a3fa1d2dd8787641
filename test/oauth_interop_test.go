//go:build interop

package test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// oauthMock is the folder in which test/interop/install installs
// oauth2-mock-server.
const oauthMock = "/usr/local/lib/hoplite-interop/oauth2"

// startTokenService runs oauth2-mock-server. Its tokens expire after life
// seconds.
func startTokenService(t *testing.T, port string, life int) (stop func()) {
	t.Helper()
	script, err := filepath.Abs("interop/oauth2/server.js")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script, port, fmt.Sprint(life))
	cmd.Env = append(os.Environ(), "NODE_PATH="+oauthMock+"/node_modules")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("token service: %q, %v", line, err)
	}
	stop = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(stop)
	return stop
}

// setting returns the duration in an environment variable, or a default.
func setting(t *testing.T, name string, value time.Duration) time.Duration {
	t.Helper()
	if v := os.Getenv(name); v != "" {
		var err error
		if value, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	return value
}

// unexpired reports whether a token is a JWT that has not expired.
func unexpired(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct{ Exp int64 }
	return json.Unmarshal(b, &claims) == nil && time.Now().Unix() < claims.Exp
}

// An upstream that accepts only fresh tokens receives every message exactly
// once, although the tokens are valid for only 10 s (OAUTH_LIFE) and the token
// service is down for a while. The test takes 2 minutes (OAUTH_TIME).
func TestInteropOAuthShortTokens(t *testing.T) {
	if _, err := os.Stat(oauthMock + "/node_modules"); err != nil {
		t.Skip("oauth2-mock-server is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	life := setting(t, "OAUTH_LIFE", 10*time.Second)
	stop := startTokenService(t, port, int(life.Seconds()))

	old := newPeer(t, "")
	var mu sync.Mutex
	refused := 0
	requireToken(old, func(token string) bool {
		ok := unexpired(token)
		mu.Lock()
		defer mu.Unlock()
		if !ok {
			refused++
		}
		return ok
	})
	s := prepare(t, strings.NewReplacer("$SERVER", old.l.Addr().String(), "$TOKENS", "http://127.0.0.1:"+port, "$MORE", "").Replace(oauthConfig))
	s.start()

	length := setting(t, "OAUTH_TIME", 2*time.Minute)
	sent := 0
	send := func(until time.Time) {
		for ; time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
			s.talk("devices", strings.Replace(shortMail, "$SUBJECT", fmt.Sprintf("number %d.", sent), 1))
			sent++
		}
	}
	start := time.Now()
	send(start.Add(length / 2))
	stop()
	send(time.Now().Add(life * 3 / 2))
	if !strings.Contains(s.log.String(), "can't be reached: connection refused") {
		t.Error("the reason is not in the log")
	}
	startTokenService(t, port, int(life.Seconds()))
	send(start.Add(length))

	count := func() map[string]int {
		old.mu.Lock()
		defer old.mu.Unlock()
		got := map[string]int{}
		for _, m := range old.messages {
			_, rest, _ := strings.Cut(m, "Subject: ")
			subject, _, _ := strings.Cut(rest, "\r\n")
			got[subject]++
		}
		return got
	}
	s.waitFor("all messages", func() bool { return len(count()) >= sent })
	for subject, n := range count() {
		if n != 1 {
			t.Errorf("%s arrived %d times", subject, n)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d messages in %s, %d logins with an expired token", sent, time.Since(start).Round(time.Second), refused)
	for _, secret := range []string{"s3cret", "eyJ"} { // the start of every JWT
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}
