package listen

import (
	"crypto/tls"
	"os"
	"testing"
)

// A power cut while the pair is written does not prevent the server from
// starting.
func TestSelfSignedAfterCrash(t *testing.T) {
	other, err := SelfSigned(t.TempDir(), "other.example.org")
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := os.ReadFile(other.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(Pair) error{
		"empty certificate": func(p Pair) error { return os.Truncate(p.Cert, 0) },
		"half a key":        func(p Pair) error { return os.Truncate(p.Key, 40) },
		"no key":            func(p Pair) error { return os.Remove(p.Key) },
		"another key":       func(p Pair) error { return os.WriteFile(p.Key, otherKey, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pair, err := SelfSigned(dir, "mail.example.org")
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(pair); err != nil {
				t.Fatal(err)
			}
			again, err := SelfSigned(dir, "mail.example.org")
			if err != nil || again != pair {
				t.Fatalf("%v, %v", again, err)
			}
			if _, err := tls.LoadX509KeyPair(again.Cert, again.Key); err != nil {
				t.Error(err)
			}
		})
	}
}
