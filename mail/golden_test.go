package mail

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// TestReadsFirstVersion reads transactions that the first version wrote into
// its history. The file must never be regenerated.
func TestReadsFirstVersion(t *testing.T) {
	f, err := os.Open("../internal/history/testdata/v1/2026-11-30.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		var rec struct {
			ID, Kind string
			Data     Story
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
