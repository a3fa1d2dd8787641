package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// signed returns the type of signature that a message has, or "" if it has
// none. A signature may also be within a multipart, where mailing lists leave
// it, or in the text of a part. The signature of an attached message is not
// broken by a change of the sender.
func (h *header) signed(m *mail.Message) (string, error) {
	if h.signatures {
		return "DKIM", nil
	}
	var text armor
	tree, err := mime.Walk(io.TeeReader(m.Reader(), &text))
	if err != nil {
		return "", fmt.Errorf("look for a signature: %w", err)
	}
	kind := signedPart(tree.Root)
	if kind == "" && text.found {
		kind = "OpenPGP"
	}
	return kind, nil
}

// signedPart returns the type of signature of a part or of the parts in it.
func signedPart(p *mime.Part) string {
	switch protocol := strings.ToLower(mime.Get(p.Params, "protocol")); {
	case p.Is("multipart", "signed") && protocol == "application/pgp-signature":
		return "OpenPGP"
	case p.Is("multipart", "signed"):
		return "S/MIME"
	case p.Is("application", "pkcs7-mime") || p.Is("application", "x-pkcs7-mime"):
		// Without the parameter, which is optional, it may be signed.
		if kind := mime.Get(p.Params, "smime-type"); kind == "" || strings.EqualFold(kind, "signed-data") {
			return "S/MIME"
		}
	case p.Multipart():
		for _, child := range p.Children {
			if kind := signedPart(child); kind != "" {
				return kind
			}
		}
	}
	return ""
}

// armored is the beginning of a text with an OpenPGP signature (RFC 9580, 7).
var armored = []byte("\n-----BEGIN PGP SIGNED MESSAGE-----")

// armor looks for a signed text in what is written to it.
type armor struct {
	tail  []byte // the end of what was written, in which armored may begin
	found bool
}

func (a *armor) Write(p []byte) (int, error) {
	if !a.found {
		keep := len(armored) - 1
		edge := append(a.tail, p[:min(len(p), keep)]...)
		a.found = bytes.Contains(edge, armored) || bytes.Contains(p, armored)
		if len(p) >= keep {
			edge = p
		}
		a.tail = append(a.tail[:0], edge[max(0, len(edge)-keep):]...)
	}
	return len(p), nil
}
