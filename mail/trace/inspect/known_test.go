package inspect

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"hoplite/mail"
	"hoplite/mail/story"
)

// ourID is an id of this program.
var ourID = mail.NewID()

// report returns a bounce with fields about the message and an original.
func report(fields, original string) string {
	return "From: MAILER-DAEMON@mx.b.example\nIn-Reply-To: <reply@a.example>\nContent-Type: multipart/report; report-type=delivery-status; boundary=B\n\n--B\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.b.example\n" +
		fields + "\nOriginal-Recipient: rfc822;team@b.example\nFinal-Recipient: rfc822;bob@b.example\nAction: failed\nStatus: 5.1.1\n\n--B\nContent-Type: message/rfc822\n\n" + original + "\nhi\n--B--\n"
}

// TestKeys checks the keys that identify a message in history, and their order.
func TestKeys(t *testing.T) {
	original := "Received: from pc by mx.a.example (hoplite) with ESMTPSA id " + ourID + "; Tue, 12 May 2026 08:30:05 +0000\nMessage-ID: <1@a.example>\nFrom: ann@a.example\n"
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"a message", "Received: from x by mx.a.example with ESMTP id " + ourID + "; Tue, 12 May 2026 08:30:05 +0000\nMessage-ID: <2@x.example>\n\nhi\n",
			[]string{"our id " + ourID, "the Message-ID <2@x.example>"}},
		{"a message with other ids", "Received: from x by mx.a.example with ESMTP id 4F1; Tue, 12 May 2026 08:30:05 +0000\nFrom: x@x.example\n\nhi\n", nil},
		{"our own report", report("X-Hoplite-Id: "+ourID+"\nOriginal-Envelope-Id: env7\n", "Message-ID: <1@a.example>\n"),
			[]string{"our id " + ourID, "the Message-ID <1@a.example>", "the envelope id env7"}},
		{"another server's report", report("Original-Envelope-Id: env7\n", original),
			[]string{"our id " + ourID, "the Message-ID <1@a.example>", "the envelope id env7"}},
		{"a report without the original", strings.Replace(report("", ""), "message/rfc822", "text/plain", 1), []string{"the Message-ID <reply@a.example>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []string
			i := &Inspector{Records: func(_ context.Context, k Key) ([]story.Entry, error) {
				asked = append(asked, k.String())
				return nil, nil
			}}
			r, err := i.Inspect(t.Context(), []byte(c.in))
			if err != nil || r.Known != nil {
				t.Fatal(err, r)
			}
			if !slices.Equal(asked, c.want) {
				t.Errorf("asked %q, want %q", asked, c.want)
			}
		})
	}
}

// TestKnown checks that a viewer receives only the information it may see.
func TestKnown(t *testing.T) {
	data := `{"ID":"` + ourID + `","Client":{"user":"ann@a.example"},"Envelope":{"From":"ann@a.example","Rcpts":[{"To":"bob@b.example"}]},"Verdict":"accepted","Reply":{"code":250}}`
	entry := story.Entry{ID: ourID, Kind: "transaction", From: "ann@a.example", To: []string{"bob@b.example"}, Data: []byte(data)}
	in := []byte(report("X-Hoplite-Id: "+ourID+"\n", "From: ann@a.example\n"))
	for _, c := range []struct {
		viewer story.Viewer
		known  bool
	}{
		{story.Everything, true},
		{story.Viewer{Account: "bob@b.example"}, true},
		{story.Viewer{Account: "eve@b.example"}, false},
		{story.Viewer{}, false},
	} {
		i := &Inspector{Viewer: c.viewer, Records: func(context.Context, Key) ([]story.Entry, error) { return []story.Entry{entry}, nil }}
		r, err := i.Inspect(t.Context(), in)
		if err != nil || (r.Known != nil) != c.known {
			t.Errorf("%+v: %v, known %+v", c.viewer, err, r.Known)
		}
		if c.known && (r.Known.By.ID != ourID || r.JSON().Story[0].ID != ourID) {
			t.Errorf("%+v", r.Known)
		}
	}
	i := &Inspector{Records: func(context.Context, Key) ([]story.Entry, error) { return nil, errors.New("disk") }}
	if _, err := i.Inspect(t.Context(), in); err == nil || !strings.Contains(err.Error(), "search history: disk") {
		t.Errorf("%v", err)
	}
}

// TestBounceJSON checks the documented JSON form of a bounce.
func TestBounceJSON(t *testing.T) {
	r, err := (&Inspector{}).Inspect(t.Context(), []byte(report("", "Message-ID: <1@a.example>\nFrom: ann@a.example\n")))
	if err != nil {
		t.Fatal(err)
	}
	b := r.JSON().Bounce
	if b == nil || b.Reporter != "mx.b.example" || len(b.Recipients) != 1 || b.Original == nil || b.Original.MessageID != "<1@a.example>" || r.Clean() {
		t.Fatalf("%+v", b)
	}
	if f := b.Recipients[0]; f.Rcpt != "bob@b.example" || f.Original != "team@b.example" || f.Status != "5.1.1" || len(f.Means) == 0 || len(f.Next) != len(f.Means) {
		t.Errorf("%+v", f)
	}
}
