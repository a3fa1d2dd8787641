package forward

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"os"
	"strings"

	"hoplite/mail"
	"hoplite/mail/downgrade"
	"hoplite/mail/mime"
)

// This file re-encodes a message for a server that supports only 7-bit text, or
// no UTF-8 in header fields: parts become quoted-printable or base64 (RFC 6152,
// 3), and fields use encoded words (RFC 6857). Signed parts are not changed; a
// message that cannot be re-encoded without loss is refused.

// errDowngrade reports why a message cannot be re-encoded.
type errDowngrade struct{ why string }

func (e errDowngrade) Error() string { return e.why }

// downgraded returns the message in a form that the server supports, if
// possible p itself. close releases the resources of the new message.
func (u *Upstream) downgraded(c *conn, p *parcel) (fit *parcel, close func(), refusal *mail.Reply) {
	nothing := func() {}
	body := (p.msg.EightBit || p.tx.Envelope.Body == "BINARYMIME") && !c.caps.eightBit && !c.caps.binary
	header := needs(p).utf8 && !c.caps.utf8
	if !u.cfg.Downgrade || !body && !header || addressesNeedUTF8(p) {
		return p, nothing, nil
	}
	out := &rewritten{dir: under(u.data, "spool")}
	m, err := reencode(p.msg, body, out)
	if cannot := (errDowngrade{}); errors.As(err, &cannot) {
		out.close()
		return nil, nothing, mail.NewReply(554, "5.6.3", "%s supports 7-bit text only, and this message can't be re-encoded: %s", c.server.name(), cannot.why)
	}
	if err != nil {
		out.close()
		return nil, nothing, &mail.Reply{Code: 451, Enhanced: "4.3.0", Text: "the message could not be re-encoded now", Cause: err}
	}
	reason := "re-encoded for " + c.server.name() + ", which supports 7-bit text only"
	if !body {
		reason = "header re-encoded for " + c.server.name() + ", which does not support UTF-8 there"
	}
	if hasField(p.msg.Header(), "DKIM-Signature") {
		reason += "; its DKIM signatures no longer hold"
	}
	p.tx.Trail.Add(mail.Event{Stage: mail.StageSend, By: u.cfg.Name, Verdict: "tag", Reason: reason})
	changed := *p
	changed.msg, changed.sevenBit = m, body
	return &changed, out.close, nil
}

// addressesNeedUTF8 reports whether an address has a local part that requires
// SMTPUTF8. Domains can be written as A-labels.
func addressesNeedUTF8(p *parcel) bool {
	if _, ok := p.tx.Envelope.From.ASCII(); !ok {
		return true
	}
	for _, r := range p.rcpts {
		if _, ok := r.To.ASCII(); !ok {
			return true
		}
	}
	return false
}

func hasField(header []byte, name string) bool {
	_, ok := mime.Lookup(header, name)
	return ok
}

// rewritten buffers a message while it is written, first in memory and, once it
// is large, in an unlinked file.
type rewritten struct {
	dir  string
	mem  bytes.Buffer
	file *os.File
	size int64
}

// memoryLimit is the maximum size of a re-encoded message in memory.
const memoryLimit = 1 << 20

func (r *rewritten) Write(p []byte) (int, error) {
	if r.file == nil && r.mem.Len()+len(p) > memoryLimit {
		if err := r.toFile(); err != nil {
			return 0, err
		}
	}
	r.size += int64(len(p))
	if r.file != nil {
		return r.file.Write(p)
	}
	return r.mem.Write(p)
}

func (r *rewritten) toFile() error {
	if err := os.MkdirAll(r.dir, 0o750); err != nil {
		return fmt.Errorf("re-encode message: %w", err)
	}
	f, err := os.CreateTemp(r.dir, "downgrade-*")
	if err != nil {
		return fmt.Errorf("re-encode message: %w", err)
	}
	r.file = f
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("re-encode message: %w", err)
	}
	_, err = f.Write(r.mem.Bytes())
	return err
}

func (r *rewritten) content() mail.Content {
	if r.file == nil {
		return mail.Bytes(r.mem.Bytes())
	}
	return io.NewSectionReader(r.file, 0, r.size)
}

func (r *rewritten) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// reencode writes m to out as 7-bit text; if body is false, only header fields
// are changed.
func reencode(m *mail.Message, body bool, out *rewritten) (*mail.Message, error) {
	header := m.Header()
	d := &downgrader{
		src: joined{header, m.Base, int64(len(m.Head)), int64(len(header)) + m.Base.Size() - int64(len(m.Head))},
		out: out, body: body,
	}
	tree, err := mime.Walk(io.NewSectionReader(d.src, 0, d.src.size))
	if err != nil {
		return nil, err
	}
	if tree.Notes&(mime.TooDeep|mime.TooManyParts|mime.HeaderTooBig) != 0 {
		return nil, errDowngrade{"it has too many parts"}
	}
	if err := d.part(tree.Root); err != nil {
		return nil, err
	}
	fit, err := mail.NewMessage(out.content())
	if err == nil && !body {
		fit.EightBit = m.EightBit
	}
	return fit, err
}

// joined is a message in the form in which it is sent: the edited header block,
// followed by the base starting at off.
type joined struct {
	header []byte
	base   io.ReaderAt
	off    int64
	size   int64
}

func (j joined) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(j.header)) {
		n = copy(p, j.header[off:])
		off += int64(n)
	}
	if n == len(p) {
		return n, nil
	}
	k, err := j.base.ReadAt(p[n:], j.off+off-int64(len(j.header)))
	return n + k, err
}

type downgrader struct {
	src  joined
	out  io.Writer
	body bool
}

func (d *downgrader) read(from, to int64) *io.SectionReader {
	return io.NewSectionReader(d.src, from, to-from)
}

// part writes an entity and all entities inside it.
func (d *downgrader) part(p *mime.Part) error {
	raw := make([]byte, p.Header.Size())
	if _, err := io.ReadFull(d.read(p.Header.From.Off, p.Header.To.Off), raw); err != nil {
		return err
	}
	eight, err := d.eightBit(p.Body.From.Off, p.Body.To.Off)
	if err != nil {
		return err
	}
	eight = eight && d.body
	switch {
	case !eight && !d.body && len(p.Children) > 0 && !p.Is("multipart", "signed"):
		return d.around(p, raw, "") // the fields of its parts may need re-encoding
	case !eight:
		return d.whole(p, raw)
	case p.Is("multipart", "signed"):
		return errDowngrade{"a signed part has 8-bit characters, and changing it would break the signature"}
	case len(p.Children) > 0:
		return d.around(p, raw, "7bit")
	case p.Type == "message" || p.Type == "multipart":
		return errDowngrade{"a part of type " + p.Type + "/" + p.Subtype + " has 8-bit characters"}
	case p.Encoding != "7bit" && p.Encoding != "8bit" && p.Encoding != "binary":
		return errDowngrade{"a part declared as " + p.Encoding + " has 8-bit characters"}
	}
	return d.leaf(p, raw)
}

// whole writes a part with its body unchanged.
func (d *downgrader) whole(p *mime.Part, raw []byte) error {
	if err := d.header(p, raw, ""); err != nil {
		return err
	}
	return d.copy(p.Body.From.Off, p.Body.To.Off)
}

// around writes a multipart entity. Delimiters and text between parts are kept,
// with 8-bit characters replaced by question marks.
func (d *downgrader) around(p *mime.Part, raw []byte, encoding string) error {
	if err := d.header(p, raw, encoding); err != nil {
		return err
	}
	at := p.Body.From.Off
	for _, child := range p.Children {
		if err := d.plain(at, child.Header.From.Off); err != nil {
			return err
		}
		if err := d.part(child); err != nil {
			return err
		}
		at = child.Body.To.Off
	}
	return d.plain(at, p.Body.To.Off)
}

// leaf writes a re-encoded part.
func (d *downgrader) leaf(p *mime.Part, raw []byte) error {
	encoding := "base64"
	if p.Type == "text" && p.Encoding != "binary" {
		encoding = "quoted-printable"
	}
	if err := d.header(p, raw, encoding); err != nil {
		return err
	}
	body := d.read(p.Body.From.Off, p.Body.To.Off)
	if encoding == "quoted-printable" {
		w := quotedprintable.NewWriter(d.out)
		if _, err := io.Copy(w, body); err != nil {
			return err
		}
		return w.Close()
	}
	lines := &base64Lines{w: d.out}
	w := base64.NewEncoder(base64.StdEncoding, lines)
	if _, err := io.Copy(w, body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return lines.end()
}

// base64Lines breaks base64 into lines of 76 characters.
type base64Lines struct {
	w   io.Writer
	col int
}

func (b *base64Lines) Write(p []byte) (int, error) {
	const most = 76
	total := len(p)
	for len(p) > 0 {
		if b.col == most {
			if err := b.end(); err != nil {
				return 0, err
			}
		}
		n := min(most-b.col, len(p))
		if _, err := b.w.Write(p[:n]); err != nil {
			return 0, err
		}
		b.col += n
		p = p[n:]
	}
	return total, nil
}

func (b *base64Lines) end() error {
	b.col = 0
	_, err := io.WriteString(b.w, "\r\n")
	return err
}

func (d *downgrader) copy(from, to int64) error {
	_, err := io.Copy(d.out, d.read(from, to))
	return err
}

// plain copies data, replacing 8-bit characters.
func (d *downgrader) plain(from, to int64) error {
	r := d.read(from, to)
	buf := make([]byte, 8<<10)
	for {
		n, err := r.Read(buf)
		if d.body {
			for i, c := range buf[:n] {
				if c > 0x7f {
					buf[i] = '?'
				}
			}
		}
		if _, werr := d.out.Write(buf[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d *downgrader) eightBit(from, to int64) (bool, error) {
	r := d.read(from, to)
	buf := make([]byte, 8<<10)
	for {
		n, err := r.Read(buf)
		if eightBit(buf[:n]) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// header writes a header block with ASCII fields and, if encoding is not empty,
// with that transfer encoding.
func (d *downgrader) header(p *mime.Part, raw []byte, encoding string) error {
	var out bytes.Buffer
	end := 0
	for f := range mail.Fields(raw) {
		end = int(f.End)
		if encoding != "" && f.Is("Content-Transfer-Encoding") {
			continue
		}
		line, err := downgrade.Field(f)
		if err != nil {
			return errDowngrade{err.Error()}
		}
		out.Write(line)
	}
	if encoding != "" {
		if p.Parent == nil && !hasField(raw, "MIME-Version") {
			out.WriteString("MIME-Version: 1.0\r\n")
		}
		if !hasField(raw, "Content-Type") && len(p.Children) == 0 {
			// The charset of these characters is unknown (RFC 1428, 3).
			out.WriteString("Content-Type: text/plain; charset=unknown-8bit\r\n")
		}
		out.WriteString("Content-Transfer-Encoding: " + encoding + "\r\n")
	}
	rest := raw[end:]
	if len(rest) == 0 && encoding != "" && !strings.HasSuffix(out.String(), "\r\n\r\n") {
		rest = []byte("\r\n")
	}
	out.Write(rest)
	_, err := d.out.Write(out.Bytes())
	return err
}
