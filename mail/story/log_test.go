package story

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// The log records how far the connection authenticated the next server, even if
// mail was sent in clear text after TLS had failed.
func TestLogHasProof(t *testing.T) {
	trail := LogTrail{Outcomes: []mail.Outcome{{Rcpt: "ann@example.org", Proof: "clear text (TLS: handshake failure)"}}}
	var out strings.Builder
	log := zerolog.New(&out)
	log.Info().Object("trail", &trail).Msg("accepted")
	if !strings.Contains(out.String(), `"proof":"clear text (TLS: handshake failure)"`) {
		t.Errorf("the log line is %s", out.String())
	}
}
