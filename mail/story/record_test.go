package story

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// fill sets every field of v, recursively, to a non-zero value, so that fields
// missing from the encoder are detected.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 11, 23, 10, 0, 0, *n, time.UTC)))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("[2001:db8::1]:25")))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).Kind() != reflect.Interface { // a Reply's Cause, which is only logged
				fill(v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString("a\"b<c>\\d\r\n\x01é" + string(rune('A'+*n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) + 1<<40)
	case reflect.Uint8:
		v.SetUint(7)
	default:
		panic(v.Type().String())
	}
}

func TestSummaryRoundTrip(t *testing.T) {
	var full Summary
	fill(reflect.ValueOf(&full).Elem(), new(int))
	for name, want := range map[string]Summary{
		"full":  full,
		"empty": {Transaction: &mail.Transaction{Trail: &mail.Trail{}}},
	} {
		var line bytes.Buffer
		log := zerolog.New(&line)
		log.Log().Object("data", &want).Send()
		var got struct{ Data Summary }
		if err := json.Unmarshal(line.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v: %s", name, err, line.String())
		}
		if !reflect.DeepEqual(got.Data, want) {
			b, _ := json.Marshal(want)
			t.Errorf("%s: wrote\n%s\nwant\n%s", name, line.String(), b)
		}
	}
}

func TestAttemptRoundTrip(t *testing.T) {
	var want Attempt
	fill(reflect.ValueOf(&want).Elem(), new(int))
	var line bytes.Buffer
	log := zerolog.New(&line)
	log.Log().Object("data", &want).Send()
	var got struct{ Data Attempt }
	if err := json.Unmarshal(line.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, line.String())
	}
	if !reflect.DeepEqual(got.Data, want) {
		t.Errorf("got %+v\nwant %+v", got.Data, want)
	}
}

// The names in stored records are part of the format: renaming a Go field must
// not change them.
func TestStoredFieldsHaveTags(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || typ == reflect.TypeFor[time.Time]() || typ == reflect.TypeFor[netip.AddrPort]() {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Tag.Get("json") == "" && !f.Anonymous {
				t.Errorf("%s.%s has no json tag", typ, f.Name)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[Summary]())
	walk(reflect.TypeFor[Attempt]())
	if len(seen) < 12 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}

// BenchmarkRecord compares the encoder with encoding/json for a typical
// message. Relaying a 1 KiB message takes about 125 µs of CPU time.
func BenchmarkRecord(b *testing.B) {
	tx := mail.NewTransaction(mail.Client{
		Listener: "in", Protocol: "smtp", Addr: netip.MustParseAddrPort("192.0.2.1:25"),
		Peer: netip.MustParseAddrPort("192.0.2.1:25"), Local: netip.MustParseAddrPort("198.51.100.1:25"), Helo: "a.example", ESMTP: true,
	}, "ann@a.example")
	tx.Envelope.Rcpts = []mail.Rcpt{{To: "bob@example.org", Orig: "bob@example.org", Hop: "out"}}
	for range 4 {
		tx.Trail.Add(mail.Event{Stage: mail.StageData, By: "size", Verdict: "pass", Took: time.Microsecond})
	}
	tx.Trail.Outcomes = []mail.Outcome{{Rcpt: "bob@example.org", Hop: "out", Reply: *mail.NewReply(250, "2.0.0", "queued as %s", tx.ID), RemoteID: tx.ID, At: time.Now(), Took: time.Millisecond}}
	s := &Summary{Transaction: tx, Verdict: "accepted", Reply: *mail.NewReply(250, "2.0.0", "queued as %s", tx.ID), Took: time.Millisecond}
	b.Run("encoder", func(b *testing.B) {
		var line bytes.Buffer
		log := zerolog.New(&line)
		for b.Loop() {
			line.Reset()
			log.Log().Object("data", s).Send()
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		for b.Loop() {
			if _, err := json.Marshal(s); err != nil {
				b.Fatal(err)
			}
		}
	})
}
