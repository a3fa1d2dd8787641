package story

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// TestReadsFirstVersion reads transactions from a history written by the first
// version. The file must never be regenerated.
func TestReadsFirstVersion(t *testing.T) {
	f, err := os.Open("../../internal/history/testdata/v1/2026-11-30.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		var rec struct {
			ID, Kind string
			Data     Summary
		}
		if err := json.Unmarshal(s.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		if rec.Kind == "attempt" {
			continue
		}
		read++
		st := rec.Data
		if st.Transaction == nil || st.Client.Helo == "" || st.Trail == nil || st.Verdict == "" || st.Reply.Code == 0 || st.Took == 0 {
			t.Errorf("%s is not read whole: %+v", rec.ID, st)
		}
	}
	if read != 5 {
		t.Errorf("read %d transactions, want 5", read)
	}
}

// Every record of the first version can be converted to a story.
func TestTellsFirstVersion(t *testing.T) {
	b, err := os.ReadFile("../../internal/history/testdata/v1/2026-11-30.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var records []Entry
	for line := range bytes.Lines(b) {
		var r Entry
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	stories := Tell(records, Everything)
	if len(stories) != len(records) {
		t.Fatalf("%d stories of %d records", len(stories), len(records))
	}
	for _, s := range stories {
		if len(s.Lines) == 0 || s.Title == s.Kind {
			t.Errorf("%s is not told: %+v", s.ID, s)
		}
	}
}
