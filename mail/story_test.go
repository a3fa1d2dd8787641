package mail

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// fill gives every field below v a value that is not zero, so that one which
// history forgets is seen.
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
			if v.Field(i).Kind() != reflect.Interface { // a Reply's Cause, for the log alone
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

func TestStoryIsReadBackWhole(t *testing.T) {
	var full Story
	fill(reflect.ValueOf(&full).Elem(), new(int))
	for name, want := range map[string]Story{
		"full":  full,
		"empty": {Transaction: &Transaction{Trail: &Trail{}}},
	} {
		var line bytes.Buffer
		log := zerolog.New(&line)
		log.Log().Object("data", &want).Send()
		var got struct{ Data Story }
		if err := json.Unmarshal(line.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v: %s", name, err, line.String())
		}
		if !reflect.DeepEqual(got.Data, want) {
			b, _ := json.Marshal(want)
			t.Errorf("%s: wrote\n%s\nwant\n%s", name, line.String(), b)
		}
	}
}

func BenchmarkStory(b *testing.B) {
	tx := NewTransaction(Client{Listener: "in", Protocol: "smtp", Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "a.example"}, "ann@a.example")
	tx.Envelope.Rcpts = []Rcpt{{To: "bob@example.org", Orig: "bob@example.org", Hop: "out"}}
	for range 4 {
		tx.Trail.Add(Event{Stage: StageData, By: "size", Verdict: "pass", Took: time.Microsecond})
	}
	s := &Story{Transaction: tx, Verdict: "accepted", Reply: *NewReply(250, "2.0.0", "queued as %s", tx.ID), Took: time.Millisecond}
	var line bytes.Buffer
	log := zerolog.New(&line)
	for b.Loop() {
		line.Reset()
		log.Log().Object("data", s).Send()
	}
}
