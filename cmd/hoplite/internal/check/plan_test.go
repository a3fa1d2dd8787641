package check

import (
	"bytes"
	"strings"
	"testing"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/relay/forward"
)

// A login requires a verified certificate, whatever tls says, except on this
// machine and with insecure.
func TestPlanOfLogins(t *testing.T) {
	const verified = "TLS with a verified certificate required"
	for _, c := range []struct {
		servers, tls string
		insecure     bool
		want         string
	}{
		{"smtp://192.0.2.10", "may", false, verified + "; login as relay."},
		{"smtp://192.0.2.10", "require", false, verified + "; login as relay."},
		{"smtp://192.0.2.10", "may", true, "TLS if the server offers it; login as relay."},
		{"smtp://127.0.0.1", "may", false, "TLS if the server offers it; login as relay."},
		{"smtp://192.0.2.10 smtp://127.0.0.1", "may", false, verified + ", except on this machine; login as relay."},
		{"smtp://192.0.2.10 smtp://127.0.0.1", "verify", false, verified + "; login as relay."},
	} {
		u := &forward.Config{Name: "up", Servers: strings.Fields(c.servers), TLS: c.tls, Auth: &forward.AuthConfig{User: "relay", Password: "x", Insecure: c.insecure}}
		var out bytes.Buffer
		plan{w: &out, cfg: &config.Config{}}.upstream(u)
		if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, c.want) {
			t.Errorf("%s, tls %s, insecure %v: %s\nwant %s", c.servers, c.tls, c.insecure, got, c.want)
		}
	}
}
