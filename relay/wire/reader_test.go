package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// readerOn returns a reader whose client sends in, in pieces, and then closes.
func readerOn(t *testing.T, in string, piece int, strict bool) *reader {
	t.Helper()
	near, far := accepted(t)
	go func() {
		for len(in) > 0 {
			n := min(piece, len(in))
			if _, err := io.WriteString(far, in[:n]); err != nil {
				return
			}
			in = in[n:]
		}
		far.Close()
	}()
	limits := Limits{Line: 20, AuthLine: 40}.withDefaults()
	return &reader{sock: near, limits: &limits, out: &replies{sock: near}, strict: strict}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 30)
	for name, tt := range map[string]struct {
		in     string
		auth   bool
		strict bool
		want   []string // lines, or the texts of errors
	}{
		"lines":                     {in: "a\r\nb\r\n", want: []string{"a\r", "b\r"}},
		"an empty line":             {in: "\r\nb\r\n", want: []string{"\r", "b\r"}},
		"bare LF":                   {in: "a\nb\r\n", want: []string{"a", "b\r"}},
		"bare LF, strict":           {in: "a\nb\r\n", strict: true, want: []string{errBareLF.Error()}},
		"LF first, strict":          {in: "\nb\r\n", strict: true, want: []string{errBareLF.Error()}},
		"as long as allowed":        {in: long[:18] + "\r\n", want: []string{long[:18] + "\r"}},
		"too long":                  {in: long + "\r\nb\r\n", want: []string{errLong.Error(), "b\r"}},
		"too long by one":           {in: long[:19] + "\r\nb\r\n", want: []string{errLong.Error(), "b\r"}},
		"AUTH may be longer":        {in: "auth " + long + "\r\n", want: []string{"auth " + long + "\r"}},
		"a response may be longer":  {in: long + "\r\n", auth: true, want: []string{long + "\r"}},
		"a response that is longer": {in: long + long + "\r\nb\r\n", auth: true, want: []string{errLong.Error(), "b\r"}},
		"without an end":            {in: strings.Repeat("y", skipMax+largeBuffer), want: []string{errFull.Error()}},
		"cut":                       {in: "a\r\nb", want: []string{"a\r", io.EOF.Error()}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 3, 1 << 20} {
				if piece == 1 && len(tt.in) > 1000 {
					continue
				}
				r := readerOn(t, tt.in, piece, tt.strict)
				for i, want := range tt.want {
					line, err := r.line(time.Minute, tt.auth)
					got := string(line)
					if err != nil {
						got = err.Error()
					}
					if got != want {
						t.Errorf("pieces of %d, line %d: %q, want %q", piece, i, got, want)
					}
				}
			}
		})
	}
}

// A partial line has its own deadline, which restarts with each line.
func TestLineDeadline(t *testing.T) {
	limits := Limits{LineTime: time.Minute}.withDefaults()
	r := &reader{limits: &limits}
	near := func(got time.Time, want time.Duration) bool {
		d := time.Until(got) - want
		return d > -5*time.Second && d < 5*time.Second
	}
	if got := r.lineDeadline(false, time.Hour); !near(got, time.Hour) {
		t.Errorf("before a line: %s", time.Until(got))
	}
	first := r.lineDeadline(true, time.Hour)
	if !near(first, time.Minute) {
		t.Errorf("in a line: %s", time.Until(first))
	}
	if again := r.lineDeadline(true, time.Hour); !again.Equal(first) {
		t.Errorf("more of a line moves its deadline by %s", again.Sub(first))
	}
}

func TestDrainWhileReading(t *testing.T) {
	near, far := accepted(t)
	defer far.Close()
	limits := Limits{}.withDefaults()
	r := &reader{sock: near, limits: &limits, out: &replies{sock: near}}
	got := make(chan error)
	go func() {
		_, err := r.line(time.Minute, false)
		got <- err
	}()
	time.Sleep(10 * time.Millisecond)
	r.drain()
	if err := <-got; !errors.Is(err, errDrain) {
		t.Errorf("interrupted with %v", err)
	}
	if _, err := r.line(time.Minute, false); !errors.Is(err, errDrain) {
		t.Errorf("the next read ends with %v", err)
	}
	// A message can still be received.
	go io.WriteString(far, "body")
	if err := r.fill(time.Now().Add(time.Minute), false); err != nil || string(r.data()) != "body" {
		t.Errorf("%q, %v", r.data(), err)
	}
}

func TestBuffer(t *testing.T) {
	var b buffer
	fill := func(n int) {
		for range n {
			if !b.room() {
				t.Fatal("no room")
			}
			b.buf[b.w] = 'x'
			b.w++
		}
	}
	fill(smallBuffer)
	b.r = 10 // space of used octets is reclaimed before the buffer grows
	fill(10)
	if b.large != nil || len(b.data()) != smallBuffer {
		t.Errorf("large %v, %d octets", b.large != nil, len(b.data()))
	}
	fill(1)
	if b.large == nil || len(b.data()) != smallBuffer+1 {
		t.Errorf("large %v, %d octets", b.large != nil, len(b.data()))
	}
	b.shrink()
	if b.large == nil {
		t.Error("a buffer in use was returned")
	}
	fill(largeBuffer - smallBuffer - 1)
	if b.room() {
		t.Error("room in a full buffer")
	}
	b.r = b.w
	b.shrink()
	if b.large != nil || len(b.data()) != 0 || !b.room() {
		t.Errorf("large %v, %d octets", b.large != nil, len(b.data()))
	}
}
