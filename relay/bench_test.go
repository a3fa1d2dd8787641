package relay

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/internal/history"
	"hoplite/mail"
)

// null is a hop that accepts everything and discards it.
type null struct{}

func (null) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &nullHandoff{}, nil
}

type nullHandoff struct{ to []mail.Address }

func (h *nullHandoff) Rcpt(_ context.Context, r mail.Rcpt) error {
	h.to = append(h.to, r.To)
	return nil
}

func (h *nullHandoff) Send(_ context.Context, m *mail.Message) []mail.Outcome {
	m.WriteTo(io.Discard)
	out := make([]mail.Outcome, len(h.to))
	for i := range out {
		out[i] = mail.Outcome{Rcpt: h.to[i], Reply: mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "ok"}}
	}
	return out
}

func (h *nullHandoff) Close() error { return nil }

// BenchmarkMessage measures one transaction on an open connection, with pipelined
// commands, a log line and a history record.
func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 5 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d := open(b, "smtp", func(_ *Config, e *Env) {
				e.Log = zerolog.New(io.Discard)
				e.History = func(history.Record, zerolog.LogObjectMarshaler) {}
				e.Chain.Routes[0].Hop = null{}
			})
			text := "From: a@example.net\r\nMessage-ID: <1@example.net>\r\nSubject: speed\r\n\r\n" +
				strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", size/72) + ".\r\n"
			c := d.hello(b)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				io.WriteString(c, "MAIL FROM:<sender@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
				c.want("250")
				c.want("250")
				c.want("354")
				io.WriteString(c, text)
				c.want("250")
			}
		})
	}
}
