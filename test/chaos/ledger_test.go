package chaos

import (
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func text(id, body string) []byte {
	return []byte("From: a@chaos.example\r\nMessage-ID: " + id + "\r\n\r\n" + body)
}

func TestLedger(t *testing.T) {
	l := NewLedger()
	arrive := func(b []byte) {
		sum, id, err := Identify(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		l.Arrived(id, sum)
	}
	for _, c := range []struct {
		id       string
		ack      bool
		arrivals []string // bodies of the arriving messages
	}{
		{"<good>", true, []string{"body\r\n"}},
		{"<lf>", true, []string{"body\n"}},
		{"<lost>", true, nil},
		{"<twice>", true, []string{"body\r\n", "body\r\n", "body\r\n"}},
		{"<half>", true, []string{"bo"}},
		{"<cut>", true, []string{"body"}},
		{"<refused>", false, nil},
		{"<no reply>", false, []string{"body\r\n"}},
	} {
		l.Sent(c.id, text(c.id, "body\r\n"), "all", c.id)
		if c.ack {
			l.Acknowledged(c.id)
		}
		for _, body := range c.arrivals {
			arrive(text(c.id, body))
		}
	}
	arrive(text("<report>", ""))
	if lost := l.Lost(); !slices.Equal(lost, []string{"<lost> [all <lost>]"}) || l.Foreign() != 1 {
		t.Errorf("lost %q, %d foreign", lost, l.Foreign())
	}
	got := l.Audit()
	size := int64(len(text("<lost>", "body\r\n")))
	if want := (Account{Acknowledged: 1, Octets: size, Lost: 1}); got["<lost>"] != want {
		t.Errorf("lost: %+v, want %+v", got["<lost>"], want)
	}
	if got := got["<refused>"]; got != (Account{}) {
		t.Errorf("refused: %+v", got)
	}
	all := got["all"]
	all.Octets = 0
	if want := (Account{Acknowledged: 6, Lost: 1, Doubled: 2, Changed: 2, Unacknowledged: 1}); all != want {
		t.Errorf("all: %+v, want %+v", all, want)
	}
}

func TestIdentify(t *testing.T) {
	for _, c := range []struct{ name, a, b string }{
		{"line endings", "Message-ID: <1@x>\r\n\r\none\r\n\r\ntwo\r\n", "Received: x\nmessage-id:\t<1@x>\n\none\n\ntwo\n"},
		{"no body", "Message-ID: <1@x>\r\n", "Message-ID: <1@x>\n\n"},
		{"field in the body", "Message-ID: <1@x>\n\nMessage-ID: <2@x>\n", "Message-ID: <1@x>\r\n\r\nMessage-ID: <2@x>\r\n"},
	} {
		var both [2][2]string
		for i, s := range []string{c.a, c.b} {
			sum, id, err := Identify(strings.NewReader(s))
			if err != nil || id != "<1@x>" {
				t.Errorf("%s: %q, %v", c.name, id, err)
			}
			both[i] = [2]string{sum, id}
		}
		if !reflect.DeepEqual(both[0], both[1]) {
			t.Errorf("%s: %v", c.name, both)
		}
	}
	broken := io.MultiReader(strings.NewReader("Message-ID: <1@x>\n\nhalf"), iotest.ErrReader(errors.New("disk")))
	if _, _, err := Identify(broken); err == nil {
		t.Error("a read error is hidden")
	}
}
