package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"strings"
	"testing"

	"hoplite/internal/listen"
)

// decode passes in through the dot decoder and the line checks, in pieces of
// the given size.
func decode(in string, piece int, fix bool, max int64) (out string, body Body, rest string, err error) {
	var w bytes.Buffer
	l := &lines{w: &w, fix: fix, max: max}
	start, cr := true, false
	var held []byte
	for {
		n := min(piece, len(in))
		if n == 0 {
			return "", Body{}, "", io.ErrUnexpectedEOF
		}
		held, in = append(held, in[:n]...), in[n:]
		used, done := dots(held, &start, &cr, l)
		held = held[used:]
		if done {
			err := l.close()
			return w.String(), l.body, string(held) + in, err
		}
	}
}

func TestDots(t *testing.T) {
	for name, tt := range map[string]struct {
		in, want, fixed string
		err             error
	}{
		"empty":                  {in: ".\r\n"},
		"a line":                 {in: "a\r\n.\r\n", want: "a\r\n"},
		"dots in front":          {in: "..a\r\n...\r\n.\r\n", want: ".a\r\n..\r\n"},
		"a single dot goes":      {in: ".a\r\n.\r\n", want: "a\r\n"},
		"dot in a line":          {in: "a.\r\n.\r\n", want: "a.\r\n"},
		"LF . LF":                {in: "a\n.\nb\r\n.\r\n", fixed: "a\r\n.\r\nb\r\n", err: ErrBareLF},
		"LF . CRLF":              {in: "a\n.\r\nb\r\n.\r\n", fixed: "a\r\n.\r\nb\r\n", err: ErrBareLF},
		"CRLF . LF":              {in: "a\r\n.\nb\r\n.\r\n", fixed: "a\r\n\r\nb\r\n", err: ErrBareLF},
		"CRLF . CR":              {in: "a\r\n.\rb\r\n.\r\n", fixed: "a\r\n b\r\n", err: ErrBareCR},
		"CR . CR":                {in: "a\r.\rb\r\n.\r\n", fixed: "a . b\r\n", err: ErrBareCR},
		"CR . CRLF":              {in: "a\r.\r\nb\r\n.\r\n", fixed: "a .\r\nb\r\n", err: ErrBareCR},
		"CR CRLF . CRLF":         {in: "a\r\r\n.\r\n", fixed: "a\r\n", err: ErrBareCR},
		"CRLF . CR CRLF":         {in: "a\r\n.\r\r\nb\r\n.\r\n", fixed: "a\r\n\r\nb\r\n", err: ErrBareCR},
		"CRLF NUL . CRLF":        {in: "a\r\n\x00.\r\nb\r\n.\r\n", fixed: "a\r\n .\r\nb\r\n", err: ErrNUL},
		"CR NUL LF . CRLF":       {in: "a\r\x00\n.\r\nb\r\n.\r\n", fixed: "a  \r\n.\r\nb\r\n", err: ErrNUL},
		"NUL":                    {in: "a\x00b\r\n.\r\n", fixed: "a b\r\n", err: ErrNUL},
		"many CR":                {in: "a\r\r\r\rb\r\n.\r\n", fixed: "a b\r\n", err: ErrBareCR},
		"begins with LF":         {in: "\na\r\n.\r\n", fixed: "\r\na\r\n", err: ErrBareLF},
		"begins with CR":         {in: "\ra\r\n.\r\n", fixed: " a\r\n", err: ErrBareCR},
		"empty line, dot":        {in: "\r\n.\r\n", want: "\r\n"},
		"long line over pieces":  {in: strings.Repeat("x", 5000) + "\r\n.\r\n", want: strings.Repeat("x", 5000) + "\r\n"},
		"dot at a piece's front": {in: strings.Repeat("x", 14) + "\r\n..y\r\n.\r\n", want: strings.Repeat("x", 14) + "\r\n.y\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, 5, 16, 1 << 20} {
				out, body, rest, err := decode(tt.in+"NOOP\r\n", piece, false, 0)
				if !errors.Is(err, tt.err) {
					t.Errorf("pieces of %d: error %v, want %v", piece, err, tt.err)
				}
				if tt.err == nil && out != tt.want {
					t.Errorf("pieces of %d: %q, want %q", piece, out, tt.want)
				}
				if tt.err == nil && int(body.Size) != len(tt.want) {
					t.Errorf("pieces of %d: size %d", piece, body.Size)
				}
				if rest != "NOOP\r\n" {
					t.Errorf("pieces of %d: %q left", piece, rest)
				}
				want := tt.fixed
				if tt.err == nil {
					want = tt.want
				}
				out, body, _, err = decode(tt.in, piece, true, 0)
				if err != nil || out != want || body.Fixed != (tt.err != nil) {
					t.Errorf("fix, pieces of %d: %q fixed %v %v, want %q", piece, out, body.Fixed, err, want)
				}
			}
		})
	}
}

func TestBodyFacts(t *testing.T) {
	in := "abc\r\n" + strings.Repeat("y", 1200) + "\r\n\xc3\xa4\r\n.\r\n"
	for _, piece := range []int{1, 7, 1 << 20} {
		_, body, _, err := decode(in, piece, false, 0)
		if err != nil || body.LongLine != 1200 || !body.EightBit || body.Size != 5+1202+4 {
			t.Errorf("pieces of %d: %+v %v", piece, body, err)
		}
	}
}

// A message of exactly the maximum size is accepted; one more octet is refused.
func TestSizeLimit(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, socket, Options{Offer: func(*Conn) Offer { return Offer{Size: 1000, Chunking: true} }}, listen.Options{}, 1000)
	exact, over := strings.Repeat("x", 998)+"\r\n", strings.Repeat("x", 999)+"\r\n"
	c := s.dial(t)
	c.hello()
	begin := func() {
		c.say("MAIL FROM:<a@example.org>", "250")
		c.say("RCPT TO:<b@example.org>", "250")
	}
	c.say("MAIL FROM:<a@example.org> SIZE=1001", "552 5.3.4")
	c.say("MAIL FROM:<a@example.org> SIZE=99999999999999999999", "552 5.3.4")
	begin()
	c.say("DATA", "354")
	c.say(exact+".", "250")
	begin()
	c.say("DATA", "354")
	c.say(over+".", "554 5.6.0 message too large")
	begin()
	c.say("BDAT 1000 LAST\r\n"+exact[:998], "250")
	begin()
	c.say("DATA", "354")
	c.send(strings.Repeat(over, 2000))
	c.want("552 5.3.4")
	c.closed()
	if got := s.store.all(); len(got) != 2 {
		t.Errorf("%d messages kept, want 2", len(got))
	}
	c = s.dial(t)
	c.hello()
	begin()
	c.send("BDAT 1001 LAST\r\n")
	c.want("552 5.3.4")
	c.want("421")
	c.closed()
}

func TestBDAT(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	begin := func(c *client) {
		c.say("MAIL FROM:<a@example.org>", "250")
		c.say("RCPT TO:<b@example.org>", "250")
	}
	t.Run("binary without line ends in one segment", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		begin(c)
		c.send("BDAT 3000 LAST\r\n" + strings.Repeat("x", 3000) + "NOOP\r\n")
		c.want("250 2.0.0 kept")
		c.want("250 2.0.0 Ok")
	})
	t.Run("chunks", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		begin(c)
		c.send("BDAT 3\r\na\r\nBDAT 6\r\n.\r\nb\r\nBDAT 0 LAST\r\n")
		c.want("250 2.0.0 Chunk received")
		c.want("250 2.0.0 Chunk received")
		c.want("250 2.0.0 kept")
		if got := s.store.all(); !strings.HasSuffix(got[len(got)-1], ";a\r\n.\r\nb\r\n") {
			t.Errorf("kept %q", got[len(got)-1])
		}
	})
	t.Run("cut chunk delivers nothing", func(t *testing.T) {
		before := len(s.store.all())
		c := s.dial(t)
		c.hello()
		begin(c)
		c.send("BDAT 5000 LAST\r\nonly this\r\n")
		c.Conn.(*net.TCPConn).CloseWrite()
		for c.reply() != "" {
		}
		if got := len(s.store.all()); got != before {
			t.Error("half a message was kept")
		}
	})
	t.Run("refused chunk full of commands", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		inner := "MAIL FROM:<evil@example.org>\r\n"
		c.send(fmt.Sprintf("BDAT %d LAST\r\n%sNOOP\r\n", len(inner), inner))
		c.want("503 5.5.1")
		c.want("250 2.0.0 Ok")
	})
	t.Run("rset between chunks", func(t *testing.T) {
		c := s.dial(t)
		c.hello()
		begin(c)
		c.send("BDAT 3\r\na\r\n")
		c.want("250")
		c.say("MAIL FROM:<c@example.org>", "503")
		c.say("RSET", "250")
		begin(c)
		c.say("DATA", "354")
		c.say("b\r\n.", "250 2.0.0 kept")
	})
	t.Run("bad sizes", func(t *testing.T) {
		for _, arg := range []string{"", "x", "-1", "+1", "99999999999", "1 LAST x", "1 FIRST"} {
			c := s.dial(t)
			c.hello()
			begin(c)
			c.send("BDAT " + arg + "\r\nMAIL FROM:<evil@example.org>\r\n")
			c.want("501 5.5.4")
			c.want("421")
			c.closed()
		}
	})
	t.Run("bare cr and lf", func(t *testing.T) {
		for _, body := range []string{"a\rb\r\n", "a\nb\r\n", "a\x00\r\n", "a\r\n\r"} {
			c := s.dial(t)
			c.hello()
			begin(c)
			c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body))
			c.want("554 5.6.0")
			c.say("NOOP", "250")
		}
	})
}

func TestCutData(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	for _, end := range []string{"", "\r\n", "\r\n.", "\r\n.\r", "\r\n.\n", ".\r\n"} {
		c := s.dial(t)
		c.hello()
		c.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
		c.want("250")
		c.want("250")
		c.want("354")
		c.send("body" + end)
		c.Conn.(*net.TCPConn).CloseWrite()
		for c.reply() != "" {
		}
	}
	if got := s.store.all(); len(got) != 0 {
		t.Errorf("kept %q", got)
	}
}

// script is a connection whose client sends its whole input, in pieces.
type script struct {
	net.Conn
	in    []byte
	piece func() int
	out   bytes.Buffer
	done  chan struct{}
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in[:min(len(s.in), s.piece())])
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *script) Close() error                { close(s.done); return nil }

// run sends in to a new server and returns a record of all its actions.
func run(t testing.TB, in []byte, o Options, piece func() int) string {
	near, far := net.Pipe()
	far.Close()
	s := &script{Conn: near, in: in, piece: piece, done: make(chan struct{})}
	socket := NewFeed()
	srv := serve(t, socket, o, listen.Options{}, 2000)
	socket.Push(s)
	<-s.done
	srv.wait(t)
	srv.store.mu.Lock()
	defer srv.store.mu.Unlock()
	return fmt.Sprintf("%s\n%q\n%v\n%v", s.out.String(), srv.store.mail, srv.store.body, srv.store.errs)
}

// The result does not depend on how the octets are split into segments.
func FuzzSegments(f *testing.F) {
	hello := "EHLO x\r\n"
	trans := "MAIL FROM:<a@b.c> SIZE=10\r\nRCPT TO:<b@c.d>\r\n"
	for _, s := range []string{
		hello + trans + "DATA\r\nSubject: x\r\n\r\n..body\r\n.\r\nQUIT\r\n",
		hello + trans + "BDAT 10\r\n0123456789BDAT 2 LAST\r\n\r\nNOOP\r\n",
		hello + trans + "BDAT 5000 LAST\r\nabc",
		hello + trans + "DATA\r\na\n.\nMAIL FROM:<evil@x.y>\r\n.\r\nNOOP\r\n",
		hello + "AUTH PLAIN\r\nAGFubgByaWdodA==\r\n" + trans,
		hello + "XUSR\r\nHELP\r\nVRFY x\r\n\xff\xfe\r\n" + strings.Repeat("A", 3000) + "\r\nNOOP\r\n",
		"HELO x\r\nMAIL FROM:<\"a> b\"@c.d>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n.\r\nRSET\r\nQUIT\r\nNOOP\r\n",
		hello + trans + "DATA\r\n" + strings.Repeat("0123456789", 300) + "\r\n.\r\nNOOP\r\n",
	} {
		for _, fix := range []bool{false, true} {
			f.Add([]byte(s), int64(1), fix)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, seed int64, fix bool) {
		if len(in) > 32<<10 {
			return
		}
		o := Options{}
		if fix {
			o.Bare, o.Lenient = Fix, true
		}
		rnd := rand.New(rand.NewSource(seed))
		want := run(t, in, o, func() int { return 1 })
		if got := run(t, in, o, func() int { return 1 << 20 }); got != want {
			t.Errorf("all at once:\n%s\nbyte by byte:\n%s", got, want)
		}
		if got := run(t, in, o, func() int { return 1 + rnd.Intn(40) }); got != want {
			t.Errorf("in pieces:\n%s\nbyte by byte:\n%s", got, want)
		}
	})
}

// The reported defect does not depend on how the message is split into
// segments.
func TestDefectsInPieces(t *testing.T) {
	long := strings.Repeat("0123456789", 10) + "\r\n"
	for name, tt := range map[string]struct {
		in  string
		err error
	}{
		"NUL, then too large":     {"a\x00b\r\n" + long + long, ErrTooLarge},
		"too large, then NUL":     {long + long + "a\x00b\r\n", ErrTooLarge},
		"bare LF, then too large": {"a\nb\r\n" + long + long, ErrTooLarge},
		"bare CR, then NUL":       {"a\rb\x00\r\n", ErrNUL},
		"bare LF, then bare CR":   {"a\nb\rc\r\n", ErrBareCR},
		"CR at the end":           {"a\nb\r", ErrBareCR},
		"bare LF":                 {"a\nb\r\n", ErrBareLF},
		"good":                    {"a\r\n", nil},
		"as large as allowed":     {long, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, 7, 50, 1 << 20} {
				var w bytes.Buffer
				l := &lines{w: &w, max: int64(len(long))}
				for in := []byte(tt.in); len(in) > 0; {
					n := min(piece, len(in))
					l.Write(in[:n])
					in = in[n:]
				}
				if err := l.close(); !errors.Is(err, tt.err) {
					t.Errorf("pieces of %d: %v, want %v", piece, err, tt.err)
				}
			}
		})
	}
}
