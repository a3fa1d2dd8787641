package attachments

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"hoplite/mail/mime"
)

// text lists a part whose whole body is uuencoded: the part itself and the
// files in it.
func (s *scan) text(at place, names []string, claimed string, r io.Reader) error {
	c := &counter{s: s, r: r, free: true}
	b := bufio.NewReaderSize(c, headSize)
	index := len(s.items)
	if err := s.add(Item{Path: at.path, Type: claimed, Kind: "text/plain", Via: at.via}, names); err != nil {
		return s.full(err)
	}
	err := s.inText(at, b, false)
	if fatal := s.fatal(err); fatal != nil {
		return fatal
	}
	s.items[index].Size = c.n
	if err != nil {
		s.items[index].Unread = err.Error()
	}
	return nil
}

// inText looks for uuencoded and BinHex files in text. If binHex is set, a
// BinHex file does not need an introduction. Damaged files are skipped, because
// an intact one may follow. The error is the first damage found, or errFull.
func (s *scan) inText(at place, r *bufio.Reader, binHex bool) (damage error) {
	whole := true // the last piece ended with a line ending
	for {
		line, err := r.ReadSlice('\n')
		begins := whole
		whole = err == nil
		if err != nil && err != bufio.ErrBufferFull && len(line) == 0 {
			if err == io.EOF {
				return damage
			}
			return err
		}
		if !begins {
			continue
		}
		if len(s.items) >= s.Files {
			return errFiles
		}
		err = nil
		if name, b64, ok := beginLine(line); ok {
			err = s.uu(at, name, b64, r)
		} else if bytes.HasPrefix(line, []byte(binHexIntro)) {
			binHex = true
		} else if binHex && line[0] == ':' {
			err = listBinHex(s, at, &hqx{head: bytes.Clone(line[1:]), r: r})
			binHex = err != nil // the closing colon may begin a line
		}
		if s.fatal(err) != nil || errors.Is(err, errDepth) {
			return err
		}
		if damage == nil {
			damage = err
		}
	}
}

// beginLine parses the line "begin 644 name" that starts a uuencoded file
// (uuencode(1p)). Like decoders, it also accepts other white space and more
// digits.
func beginLine(line []byte) (name string, b64, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("begin"))
	if !ok {
		return "", false, false
	}
	rest, b64 = bytes.CutPrefix(rest, []byte("-base64"))
	if len(rest) == 0 || rest[0] != ' ' && rest[0] != '\t' {
		return "", false, false
	}
	mode, file, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(string(rest)), "\t", " "), " ")
	file = strings.Trim(strings.TrimSpace(file), `"`)
	if file == "" || len(mode) < 3 || len(mode) > 7 || strings.Trim(mode, "01234567") != "" {
		return "", false, false
	}
	return clip(file), b64, true
}

func isBegin(line []byte) bool {
	_, _, ok := beginLine(line)
	return ok
}

// uu lists one uuencoded file and reads it to the end.
func (s *scan) uu(at place, name string, b64 bool, r *bufio.Reader) error {
	body := &uuReader{r: r, b64: b64}
	if _, err := r.Peek(1); err != nil {
		return nil // a lone begin line is ordinary text
	}
	if !body.plausible() {
		return nil
	}
	if at.depth >= s.Depth {
		return errDepth
	}
	var dec io.Reader = body
	if b64 {
		dec, _ = mime.Decoder("base64", body)
	}
	name = mime.DecodeString("utf-8", name)
	if err := s.content(at.inside(name, "uuencode"), []string{name}, "", dec); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, body)
	return err
}

// uuReader decodes lines up to "end". If b64 is set, it returns the lines
// undecoded, up to "====".
type uuReader struct {
	r    *bufio.Reader
	b64  bool
	out  []byte
	buf  [256]byte
	done bool
}

// plausible reports whether the line after a begin line is uuencoded data.
func (u *uuReader) plausible() bool {
	head, _ := u.r.Peek(128)
	line, _, _ := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	if u.b64 {
		return len(bytes.Trim(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")) == 0
	}
	if string(line) == "end" {
		return true
	}
	if len(line) == 0 || line[0] < ' ' || line[0] > '`' {
		return false
	}
	want := (int(line[0]-' ')&63 + 2) / 3 * 4
	// Trailing spaces may have been removed, and some encoders add a check
	// character.
	return len(line)-1 <= want+2
}

func (u *uuReader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.done {
			return 0, io.EOF
		}
		if head, _ := u.r.Peek(128); bytes.HasPrefix(head, []byte("begin")) {
			if first, _, _ := bytes.Cut(head, []byte("\n")); isBegin(first) {
				u.done = true // the previous file was truncated or was not a file
				continue
			}
		}
		line, err := u.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			// No encoder writes such a line. The rest of it follows
			// in the next piece.
		case err == io.EOF:
			u.done = true
		case err != nil:
			return 0, err
		}
		u.line(line)
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *uuReader) line(line []byte) {
	text := bytes.TrimRight(line, "\r\n")
	if u.b64 {
		if bytes.HasPrefix(text, []byte("====")) {
			u.done = true
			return
		}
		u.out = line
		return
	}
	if string(text) == "end" {
		u.done = true
		return
	}
	if len(text) == 0 || text[0] < ' ' || text[0] > '`' {
		return
	}
	want := int(text[0]-' ') & 63
	text = text[1:]
	out := u.buf[:0]
	for i := 0; want > 0; i, want = i+4, want-3 {
		var q [4]byte
		for j := range q {
			if i+j < len(text) {
				q[j] = (text[i+j] - ' ') & 63
			}
		}
		b := [3]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2, q[2]<<6 | q[3]}
		out = append(out, b[:min(want, 3)]...)
	}
	u.out = out
}
