package smime

import (
	"bufio"
	"bytes"
	"io"
	"path"
	"strings"

	"hoplite/mail/cms"
	"hoplite/mail/mime"
)

// shape is the kind of a MIME part.
type shape int

const (
	plain        shape = iota
	clearSigned        // multipart/signed with a CMS signature
	opaque             // a CMS object: application/pkcs7-mime and its aliases
	byName             // an opaque part recognised only by its file name
	signature          // a detached signature by itself
	otherSigned        // multipart/signed of another kind, such as OpenPGP
	otherMessage       // message/rfc822
	container          // another multipart
)

// shapeOf classifies a part by its header.
func shapeOf(p *mime.Part) shape {
	switch {
	case p.Is("multipart", "signed"):
		return signedShape(p)
	case p.Is("application", "pkcs7-mime"), p.Is("application", "x-pkcs7-mime"):
		return opaque
	case p.Is("application", "pkcs7-signature"), p.Is("application", "x-pkcs7-signature"):
		return signature
	case p.Type == "multipart":
		return container
	case p.Message() != nil:
		return otherMessage
	case p.Type == "application":
		name := strings.ToLower(p.Filename())
		if strings.HasSuffix(name, ".p7m") || strings.HasSuffix(name, ".p7z") || strings.HasSuffix(name, ".p7c") {
			return byName
		}
		if strings.HasSuffix(name, ".p7s") {
			return signature
		}
	}
	return plain
}

// isDocument distinguishes a signed document, such as contract.pdf.p7m (CAdES,
// common in Italy), from mail, whose name is smime.p7m or empty.
func isDocument(p *mime.Part) bool {
	name := strings.ToLower(p.Filename())
	return path.Ext(strings.TrimSuffix(name, path.Ext(name))) != ""
}

// signedShape distinguishes S/MIME from other kinds of signed mail by the
// protocol parameter or, if there is none, by the second part.
func signedShape(p *mime.Part) shape {
	protocol := strings.ToLower(mime.Get(p.Params, "protocol"))
	switch {
	case strings.HasSuffix(protocol, "pkcs7-signature"), strings.HasSuffix(protocol, "pkcs7-mime"):
		return clearSigned
	case protocol != "":
		return otherSigned
	}
	if len(p.Children) > 1 && shapeOf(p.Children[1]) == signature {
		return clearSigned
	}
	return otherSigned
}

// section returns a reader for a span of r.
func section(r io.ReaderAt, s mime.Span) *io.SectionReader {
	return io.NewSectionReader(r, s.From.Off, s.Size())
}

// entitySpan returns the span of a part including its header, which is what was
// signed. The line ending before the next delimiter belongs to the delimiter
// (RFC 2046, 5.1.1).
func entitySpan(p *mime.Part) mime.Span { return mime.Span{From: p.Header.From, To: p.Body.To} }

// der returns the CMS octets of a part. Some senders omit the transfer
// encoding, so base64 and BER are distinguished by the first octet.
func der(src io.ReaderAt, p *mime.Part) io.Reader {
	body := section(src, p.Body)
	if p.Encoding == "base64" || p.Encoding == "quoted-printable" {
		r, _ := mime.Decoder(p.Encoding, body)
		return r
	}
	return sniffed(body)
}

// sniffed returns BER unchanged, and decodes PEM or plain base64.
func sniffed(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	head, _ := b.Peek(512)
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 || text[0] == 0x30 {
		return b
	}
	if i := bytes.Index(text, []byte("-----BEGIN ")); i >= 0 {
		skipTo := bytes.Index(head, []byte("-----BEGIN "))
		b.Discard(skipTo)
		b.ReadSlice('\n')
		dec, _ := mime.Decoder("base64", &untilDashes{r: b})
		return dec
	}
	for _, c := range text {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n \t", rune(c)) {
			return b
		}
	}
	dec, _ := mime.Decoder("base64", b)
	return dec
}

// untilDashes reads up to the end of a PEM block.
type untilDashes struct {
	r    *bufio.Reader
	line []byte
	done bool
}

func (u *untilDashes) Read(p []byte) (int, error) {
	for len(u.line) == 0 {
		if u.done {
			return 0, io.EOF
		}
		line, err := u.r.ReadSlice('\n')
		if bytes.HasPrefix(line, []byte("-----")) || err != nil && err != bufio.ErrBufferFull {
			u.done = true
		}
		if !bytes.HasPrefix(line, []byte("-----")) {
			u.line = line
		}
	}
	n := copy(p, u.line)
	u.line = u.line[n:]
	return n, nil
}

// claimed returns the CMS type declared by the smime-type parameter, or "".
func claimed(p *mime.Part) cms.Type {
	t := strings.ToLower(mime.Get(p.Params, "smime-type"))
	if strings.HasPrefix(t, "signed-") {
		t = "signed-data" // a signed-receipt is signed-data as well
	}
	for _, known := range []cms.Type{cms.TypeSigned, cms.TypeCertsOnly, cms.TypeEnveloped, cms.TypeAuthEnveloped, cms.TypeCompressed} {
		if t == strings.ToLower(string(known)) {
			return known
		}
	}
	return ""
}

// announces reports whether micalg contains the digest in any common spelling
// (RFC 8551, 3.5.3.2).
func announces(micalg, digest string) bool {
	squeeze := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
	}
	for _, m := range strings.Split(micalg, ",") {
		m = strings.TrimPrefix(squeeze(m), "rsa")
		if m == squeeze(digest) || m == "unknown" {
			return true
		}
	}
	return micalg == ""
}

// IsMessage reports whether b begins with a header field, as mail does, rather
// than being a CMS object in DER, PEM or base64.
func IsMessage(b []byte) bool {
	text := bytes.TrimLeft(b[:min(len(b), 64<<10)], " \t\r\n")
	if len(text) == 0 {
		return true
	}
	if text[0] == 0x30 {
		return false
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if name, _, ok := bytes.Cut(line, []byte(":")); ok && len(name) > 0 && !bytes.ContainsAny(name, " \t") {
		return true
	}
	if bytes.HasPrefix(line, []byte("From ")) {
		return true
	}
	return !bytes.Contains(text, []byte("-----BEGIN ")) && len(bytes.Trim(bytes.TrimSpace(line),
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")) > 0
}
