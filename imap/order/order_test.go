package order

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/imap/summary"
)

// messages returns rows for the given headers, numbered from 1.
func messages(headers ...string) []Row {
	rows := make([]Row, len(headers))
	for i, h := range headers {
		s := summary.OfHeader([]byte(h + "\n\n"))
		arrived := time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)
		rows[i] = Row{Index: i, Number: uint32(i + 1), Size: int64(100 - i), Arrived: arrived.Unix(), Summary: s}
		rows[i].Sent, _ = s.Sent(arrived)
	}
	return rows
}

func date(day int) string { return fmt.Sprintf("Date: %d Mar 2026 12:00:00 +0000\n", day) }

func TestSort(t *testing.T) {
	rows := messages(
		date(3)+"From: Zoe <ann@x>\nTo: b@x\nCc: c@x\nSubject: Re: beta",
		date(1)+"From: adam@x\nTo: Bob <a@x>\nSubject: alpha",
		date(2)+"From: \"Mia\" <carl@x>\nTo: c@x\nCc: a@x\nSubject: [list] Beta (fwd)",
		"From: bert@x\nSubject:", // no Date; the internal date is in January
	)
	by := map[string]Compare{
		"arrival": Arrival, "size": Size, "date": Date, "subject": ByText(summary.Subject), "from": ByText(summary.MailFrom),
		"to": ByText(summary.MailTo), "cc": ByText(summary.MailCc), "show": ByText(summary.ShowFrom), "showto": ByText(summary.ShowTo),
	}
	tests := []struct {
		keys string // key names, with "-" for reverse order
		want []int
	}{
		{"arrival", []int{0, 1, 2, 3}},
		{"-arrival", []int{3, 2, 1, 0}},
		{"size", []int{3, 2, 1, 0}},
		{"date", []int{3, 1, 2, 0}},
		{"-date", []int{0, 2, 1, 3}},
		{"subject", []int{3, 1, 0, 2}},
		{"subject -date", []int{3, 1, 0, 2}},
		{"subject date", []int{3, 1, 2, 0}},
		{"from", []int{1, 0, 3, 2}},
		{"to", []int{3, 1, 0, 2}},
		{"cc", []int{1, 3, 2, 0}},
		{"show", []int{1, 3, 2, 0}},
		{"showto", []int{3, 0, 1, 2}},
		{"-subject -arrival", []int{2, 0, 1, 3}},
		{"", []int{0, 1, 2, 3}},
	}
	for _, tc := range tests {
		var keys []Key
		for _, name := range strings.Fields(tc.keys) {
			name, reverse := strings.CutPrefix(name, "-")
			keys = append(keys, Key{by[name], reverse})
		}
		if got := Sort(rows, keys); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.keys, got, tc.want)
		}
	}
	if got := Sort(nil, []Key{{Date, false}}); len(got) != 0 {
		t.Errorf("nothing sorted is %v", got)
	}
}

func id(n string) string { return "Message-ID: <" + n + ">\n" }

func refs(ids ...string) string { return "References: <" + strings.Join(ids, "> <") + ">\n" }

func TestThreads(t *testing.T) {
	tests := []struct {
		name                              string
		headers                           []string
		bySubject, byReferences, byLatest string
	}{
		{name: "none"},
		{
			name:      "one",
			headers:   []string{id("a") + date(1) + "Subject: x"},
			bySubject: "(1)", byReferences: "(1)", byLatest: "(1)",
		},
		{
			name:         "a chain",
			headers:      []string{id("a") + date(1) + "Subject: x", id("b") + refs("a") + date(2) + "Subject: Re: x", id("c") + refs("a", "b") + date(3) + "Subject: Re: x"},
			bySubject:    "(1 (2)(3))",
			byReferences: "(1 2 3)",
			byLatest:     "(1 2 3)",
		},
		{
			name:         "two replies",
			headers:      []string{id("a") + date(1) + "Subject: x", id("b") + refs("a") + date(3) + "Subject: Re: x", id("c") + refs("a") + date(2) + "Subject: Re: x"},
			bySubject:    "(1 (3)(2))",
			byReferences: "(1 (3)(2))",
			byLatest:     "(1 (3)(2))",
		},
		{
			name:         "the root is missing",
			headers:      []string{id("b") + refs("a") + date(1) + "Subject: Re: x", id("c") + refs("a") + date(2) + "Subject: Re: x"},
			bySubject:    "(1 2)",
			byReferences: "((1)(2))",
			byLatest:     "((1)(2))",
		},
		{
			name:         "a message between is missing",
			headers:      []string{id("a") + date(1) + "Subject: x", id("c") + refs("a", "b") + date(2) + "Subject: Re: x"},
			bySubject:    "(1 2)",
			byReferences: "(1 2)",
			byLatest:     "(1 2)",
		},
		{
			name:         "In-Reply-To",
			headers:      []string{id("a") + date(1) + "Subject: x", id("b") + "In-Reply-To: <a>\n" + date(2) + "Subject: y"},
			bySubject:    "(1)(2)",
			byReferences: "(1 2)",
			byLatest:     "(1 2)",
		},
		{
			name:         "joined by subject only",
			headers:      []string{id("a") + date(1) + "Subject: x", id("b") + date(2) + "Subject: Re: x", id("c") + date(3) + "Subject: y"},
			bySubject:    "(1 2)(3)",
			byReferences: "(1 2)(3)",
			byLatest:     "(1)(2)(3)",
		},
		{
			name:         "same subject, neither a reply",
			headers:      []string{id("a") + date(1) + "Subject: x", id("b") + date(2) + "Subject: x"},
			bySubject:    "(1 2)",
			byReferences: "((1)(2))",
			byLatest:     "(1)(2)",
		},
		{
			name:         "the latest thread comes last",
			headers:      []string{id("a") + date(1) + "Subject: x", id("b") + date(2) + "Subject: y", id("c") + refs("a") + date(9) + "Subject: Re: x"},
			bySubject:    "(1 3)(2)",
			byReferences: "(1 3)(2)",
			byLatest:     "(2)(1 3)",
		},
		{
			name:         "without ids",
			headers:      []string{date(2) + "Subject: x", date(1) + "Subject: y"},
			bySubject:    "(2)(1)",
			byReferences: "(2)(1)",
			byLatest:     "(2)(1)",
		},
		{
			name:         "an id twice",
			headers:      []string{id("a") + date(1) + "Subject: x", id("a") + date(2) + "Subject: y"},
			bySubject:    "(1)(2)",
			byReferences: "(1)(2)",
			byLatest:     "(1)(2)",
		},
		{
			name:         "a loop",
			headers:      []string{id("a") + refs("b") + date(1) + "Subject: x", id("b") + refs("a") + date(2) + "Subject: y"},
			bySubject:    "(1)(2)",
			byReferences: "(2 1)",
			byLatest:     "(2 1)",
		},
		{
			name:         "a reference to itself",
			headers:      []string{id("a") + refs("a") + date(1) + "Subject: x"},
			bySubject:    "(1)",
			byReferences: "(1)",
			byLatest:     "(1)",
		},
		{
			name:         "no subject is not one subject",
			headers:      []string{id("a") + date(1) + "Subject:", id("b") + date(2) + "Subject:"},
			bySubject:    "(1 2)",
			byReferences: "(1)(2)",
			byLatest:     "(1)(2)",
		},
		{
			name: "branches in branches",
			headers: []string{id("a") + date(1) + "Subject: x", id("b") + refs("a") + date(2) + "Subject: Re: x", id("c") + refs("a", "b") + date(3) + "Subject: Re: x",
				id("d") + refs("a", "b") + date(4) + "Subject: Re: x", id("e") + refs("a") + date(5) + "Subject: Re: x"},
			bySubject:    "(1 (2)(3)(4)(5))",
			byReferences: "(1 (2 (3)(4))(5))",
			byLatest:     "(1 (2 (3)(4))(5))",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			text := func(threads []*Thread, err error) string {
				if err != nil {
					t.Error(err)
				}
				var b []byte
				for _, r := range threads {
					b = r.Append(b)
				}
				return string(b)
			}
			got := []string{text(BySubject(messages(tc.headers...)), nil), text(ByReferences(messages(tc.headers...))), text(ByLatest(messages(tc.headers...)))}
			if want := []string{tc.bySubject, tc.byReferences, tc.byLatest}; !reflect.DeepEqual(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// A chain that spans the whole mailbox must be neither slow nor recurse deeply.
func TestLongChain(t *testing.T) {
	const n = 20_000
	headers := make([]string, n)
	for i := range headers {
		headers[i] = id(fmt.Sprint(i)) + "Subject: x"
		if i > 0 {
			headers[i] = id(fmt.Sprint(i)) + refs(fmt.Sprint(i-1)) + "Subject: Re: x"
		}
	}
	threads, err := ByLatest(messages(headers...))
	if err != nil || len(threads) != 1 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	if got := threads[0].Append(nil); strings.Count(string(got), " ") != n-1 || strings.Count(string(got), "(") != 1 {
		t.Errorf("%.100s", got)
	}
}

// References that would take too long to follow cause an error.
func TestTooComplex(t *testing.T) {
	const deep, wide = 10_000, 5_100
	var headers []string
	for i := range deep {
		headers = append(headers, id(fmt.Sprint(i))+refs(fmt.Sprint(i-1)))
	}
	// Each of these messages has a reply and becomes a reply to the end of the
	// chain, so the whole chain is searched for it.
	for i := range wide {
		headers = append(headers, id(fmt.Sprint("reply", i))+refs(fmt.Sprint("late", i)))
		headers = append(headers, id(fmt.Sprint("late", i))+refs(fmt.Sprint(deep-1)))
	}
	if _, err := ByReferences(messages(headers...)); !errors.Is(err, ErrTooComplex) {
		t.Errorf("got %v", err)
	}
	if _, err := ByReferences(messages(headers[:deep+1000]...)); err != nil {
		t.Errorf("a part of it: %v", err)
	}
}

func BenchmarkByReferences(b *testing.B) {
	headers := make([]string, 5000)
	for i := range headers {
		headers[i] = id(fmt.Sprint(i)) + refs(fmt.Sprint(i/3)) + date(1+i%28) + "Subject: Re: subject " + fmt.Sprint(i%500)
	}
	rows := messages(headers...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ByReferences(rows); err != nil {
			b.Fatal(err)
		}
	}
}
