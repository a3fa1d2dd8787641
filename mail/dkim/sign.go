package dkim

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"hoplite/mail"
)

// Signer holds a signing key and its parameters.
type Signer struct {
	Domain   string
	Selector string
	Key      crypto.Signer // RSA with at least 1024 bits, or Ed25519
	// Expire is the lifetime of the signature; 0 means that it does not expire.
	Expire time.Duration
}

// ErrEmptyLines is returned by Sign for a message with too many consecutive
// empty lines, because signing would keep them in memory.
var ErrEmptyLines = errors.New("too many empty lines in a row to sign")

// maxEmptyLines is the maximum number of octets of consecutive line endings in
// a body. go-msgauth buffers them until text follows, because they are ignored
// at the end of the body.
const maxEmptyLines = 1 << 20

// Sign returns a DKIM-Signature field from each signer for the outgoing
// message, with relaxed/relaxed canonicalisation. It reads the message once;
// memory use does not depend on the message size.
func Sign(m *mail.Message, signers ...Signer) ([]byte, error) {
	head := m.Header()
	names := SignedHeaders(NewHeader(head))
	now := time.Now()
	works := make([]*msgauth.Signer, 0, len(signers))
	writers := make([]io.Writer, 0, len(signers))
	defer func() {
		for _, w := range works {
			w.Close() // ends its goroutine after an error; harmless otherwise
		}
	}()
	for i := range signers {
		s := &signers[i]
		options := msgauth.SignOptions{Domain: s.Domain, Selector: s.Selector, Signer: s.Key, HeaderKeys: names,
			HeaderCanonicalization: msgauth.CanonicalizationRelaxed, BodyCanonicalization: msgauth.CanonicalizationRelaxed}
		if s.Expire > 0 {
			options.Expiration = now.Add(s.Expire)
		}
		w, err := msgauth.NewSigner(&options)
		if err != nil {
			return nil, fmt.Errorf("sign for %s: %w", s.Domain, err)
		}
		works, writers = append(works, w), append(writers, w)
	}
	out := &lineEndGuard{w: io.MultiWriter(writers...)}
	if _, err := m.WriteTo(out); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if !bytes.HasSuffix(head, []byte("\r\n\r\n")) && string(head) != "\r\n" {
		if _, err := out.Write(crlf); err != nil { // the header has no final empty line
			return nil, fmt.Errorf("sign: %w", err)
		}
	}
	var fields []byte
	for i, w := range works {
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("sign for %s: %w", signers[i].Domain, err)
		}
		fields = append(fields, w.Signature()...)
	}
	return fields, nil
}

// lineEndGuard fails after more than maxEmptyLines consecutive octets of line
// endings.
type lineEndGuard struct {
	w   io.Writer
	run int
}

func (g *lineEndGuard) Write(p []byte) (int, error) {
	const piece = 32 << 10
	for at := 0; at < len(p); {
		b := p[at:min(at+piece, len(p))]
		if text := bytes.TrimRight(b, " \t\r\n"); len(text) > 0 {
			g.run = len(b) - len(text)
		} else if g.run += len(b); g.run > maxEmptyLines {
			return at, ErrEmptyLines
		}
		if n, err := g.w.Write(b); err != nil {
			return at + n, err
		}
		at += len(b)
	}
	return len(p), nil
}

// oversigned lists fields that must not be added later. h= names each of them
// one more time than it occurs (RFC 6376, 8.15).
var oversigned = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
	"In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

// signedIfPresent lists fields that are signed as often as they occur.
var signedIfPresent = []string{
	"Resent-From", "Resent-To", "Resent-Date", "Resent-Message-ID",
	"List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "List-Help", "Autocrypt", "Feedback-ID",
}

// maxRepeats is the maximum number of times that h= names a field. RFC 5322
// allows each of the oversigned fields once. The bound keeps h=, which
// go-msgauth does not fold, within the line length limit.
const maxRepeats = 3

// SignedHeaders returns the names for the h= tag of a signature of h. They
// cover the fields that mail programs display.
func SignedHeaders(h *Header) []string {
	var names []string
	for _, n := range oversigned {
		for range min(len(h.byName[strings.ToLower(n)]), maxRepeats) {
			names = append(names, n)
		}
		names = append(names, n)
	}
	for _, n := range signedIfPresent {
		for range min(len(h.byName[strings.ToLower(n)]), 2) {
			names = append(names, n)
		}
	}
	return names
}
