package relay

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"hoplite/mail"
	"hoplite/mail/alias"
)

// book resolves addresses from a table. Addresses not in the table resolve to
// themselves.
type book map[string]alias.Resolved

func (b book) Resolve(addr string) (alias.Resolved, error) {
	switch addr {
	case "loop@example.org":
		return alias.Resolved{}, fmt.Errorf("%s: %w", addr, alias.ErrLoop)
	case "wide@example.org":
		return alias.Resolved{}, alias.ErrTooMany
	}
	if r, ok := b[addr]; ok {
		return r, nil
	}
	return alias.Resolved{Finals: []alias.Final{{Address: addr}}}, nil
}

func (b book) Ours(string) bool { return true }

// mute is a hop whose Send returns fewer outcomes than there are recipients.
type mute struct{ hop }

func (m *mute) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &muteHandoff{handoff{hop: &m.hop, tx: tx}}, nil
}

type muteHandoff struct{ handoff }

func (h *muteHandoff) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	return h.handoff.Send(ctx, m)[:1]
}

func testRouter() (r *Router, boxes *hop, out *mute) {
	boxes, out = &hop{}, &mute{}
	chains := []*Chain{
		{Routes: []Route{NewRoute(&RouteConfig{Name: "here", To: []string{"example.org"}, Hop: "boxes"}, nil, boxes, nil)}},
		{Routes: []Route{NewRoute(&RouteConfig{Name: "out", To: []string{"example.net"}, Relay: true, Hop: "internet"}, nil, out, nil)}},
	}
	return NewRouter(book{
		"sales@example.org": {Finals: []alias.Final{{Address: "ann@example.org", Folder: "Sales"}}},
		"list@example.org":  {Finals: []alias.Final{{Address: "ann@example.org"}, {Address: "bob@example.org"}}},
		"kept@example.org":  {Finals: []alias.Final{{Address: "kept@example.org"}, {Address: "eve@example.net"}, {Address: "x@nowhere.example"}}},
		"mixed@example.org": {Finals: []alias.Final{{Address: "full@example.org"}, {Address: "no@example.org"}, {Address: "bob@example.org"}}},
		"bad@example.org":   {Finals: []alias.Final{{Address: "never@example.org"}, {Address: "full@example.org"}, {Address: "no@example.org"}}},
		"none@example.org":  {Finals: []alias.Final{{Address: "no@example.org"}, {Address: "late@example.org"}}},
		"gone@example.org":  {},
	}, chains), boxes, out
}

func TestRouterWay(t *testing.T) {
	r, _, _ := testRouter()
	tx := mail.NewTransaction(mail.Client{}, "")
	for name, tt := range map[string]struct {
		to, hop, at, folder string
		code                int
	}{
		"a mailbox":                      {to: "ann@example.org", hop: "boxes", at: "ann@example.org"},
		"an alias":                       {to: "sales@example.org", hop: "boxes", at: "ann@example.org", folder: "Sales"},
		"a route to the outside is open": {to: "eve@example.net", hop: "internet", at: "eve@example.net"},
		"a list":                         {to: "list@example.org", code: 450},
		"nobody":                         {to: "gone@example.org", code: 550},
		"a loop, which can be corrected": {to: "loop@example.org", code: 451},
		"too many addresses":             {to: "wide@example.org", code: 451},
		"no route":                       {to: "x@nowhere.example", code: 550},
	} {
		t.Run(name, func(t *testing.T) {
			hop, at, err := r.Route(tx, mail.Rcpt{To: mail.Address(tt.to)})
			var reply *mail.Reply
			if errors.As(err, &reply) != (tt.code != 0) || reply != nil && reply.Code != tt.code {
				t.Fatalf("error %v, want %d", err, tt.code)
			}
			if tt.code == 0 && (hop != tt.hop || string(at.To) != tt.at || at.Folder != tt.folder) {
				t.Errorf("%s to %s in %q, want %s to %s in %q", hop, at.To, at.Folder, tt.hop, tt.at, tt.folder)
			}
		})
	}
	// Queued mail was resolved when it arrived, so it is not sent to both
	// addresses again.
	if hop, at, err := r.Route(tx, mail.Rcpt{To: "kept@example.org", Hop: "removed"}); hop != "boxes" || at.To != "kept@example.org" || err != nil {
		t.Errorf("%s to %s, %v", hop, at.To, err)
	}
	if hop, at, err := r.Route(tx, mail.Rcpt{To: "sales@example.org", Hop: "removed"}); hop != "boxes" || at.To != "ann@example.org" || err != nil {
		t.Errorf("%s to %s, %v", hop, at.To, err)
	}
	if tx.Client.MayRelay {
		t.Error("the caller's transaction was changed")
	}
}

// Outcomes are in the order of the recipients, one for each, even if a hop
// returns too few.
func TestRouterSend(t *testing.T) {
	r, boxes, _ := testRouter()
	h, err := r.Open(context.Background(), mail.NewTransaction(mail.Client{}, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{
		"eve@example.net", "ann@example.org", "mallory@example.net", "full@example.org",
		"list@example.org", "mixed@example.org", "bad@example.org", "kept@example.org",
	} {
		if err := h.Rcpt(context.Background(), mail.Rcpt{To: mail.Address(to)}); err != nil {
			t.Fatal(err)
		}
	}
	for to, code := range map[string]int{"no@example.org": 550, "gone@example.org": 550, "none@example.org": 451} {
		if err := h.Rcpt(context.Background(), mail.Rcpt{To: mail.Address(to)}); err == nil || mail.AsReply(err).Code != code {
			t.Errorf("%s: %v", to, err)
		}
	}
	m, err := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range h.Send(context.Background(), m) {
		got = append(got, fmt.Sprint(o.Rcpt, " ", o.Reply.Code))
	}
	want := "[eve@example.net 250 ann@example.org 250 mallory@example.net 451 full@example.org 452 " +
		"list@example.org 250 mixed@example.org 250 bad@example.org 452 kept@example.org 250]"
	if fmt.Sprint(got) != want {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	if got, want := locals(boxes), "ann ann bob bob kept"; got != want {
		t.Errorf("delivered to %s, want %s", got, want)
	}
	h.Close()
	if boxes.open != 0 {
		t.Errorf("%d handoffs of the boxes not closed", boxes.open)
	}
}

// mistaken is a book in which every alias has a mistake.
type mistaken struct{}

func (mistaken) Ours(string) bool { return true }

func (mistaken) Resolve(string) (alias.Resolved, error) { return alias.Resolved{}, alias.ErrMistake }

// Queued mail to an address whose alias has a mistake waits.
func TestRouterWithAliasMistake(t *testing.T) {
	_, err := (&Router{addresses: mistaken{}}).find(mail.NewTransaction(mail.Client{}, ""), mail.Rcpt{To: "ann@example.org"})
	if r := mail.AsReply(err); r == nil || r.Permanent() {
		t.Errorf("%v", err)
	}
}
