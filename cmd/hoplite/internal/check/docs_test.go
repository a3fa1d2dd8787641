package check

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hoplite/cmd/hoplite/internal/config"
)

// example is a fenced hcl block in a documentation page.
type example struct {
	place string // README.md:60
	text  string
}

// examples returns the hcl blocks of README.md and docs.
func examples(t *testing.T) []example {
	t.Helper()
	const root = "../../../../"
	pages, err := filepath.Glob(root + "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []example
	for _, page := range append(pages, root+"README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		inside, indent := false, ""
		for i, line := range strings.SplitAfter(string(text), "\n") {
			switch word := strings.TrimSpace(line); {
			case word == "```hcl":
				inside = true
				indent = strings.TrimSuffix(strings.TrimRight(line, "\n"), word)
				list = append(list, example{place: fmt.Sprintf("%s:%d", filepath.Base(page), i+1)})
			case word == "```":
				inside = false
			case inside:
				list[len(list)-1].text += strings.TrimPrefix(line, indent)
			}
		}
	}
	return list
}

// reference is an attribute that names another block.
var reference = regexp.MustCompile(`(?m)^ *(chain|hop) *= "([a-z-]+)"`)

// declaration is a block with a name.
var declaration = regexp.MustCompile(`(?m)^(chain|maildrop|upstream) "([a-z-]+)"`)

// listener matches the start of a listener block.
var listener = regexp.MustCompile(`(?m)^(smtp|lmtp|pop3|imap|web) "`)

// frame completes a fragment: it adds the blocks that the fragment refers to,
// and blocks that use the ones it declares.
func frame(text string) string {
	switch {
	case strings.HasPrefix(text, "filter "):
		text = fmt.Sprintf("chain %q {\n%s  route \"in\" {\n    to  = [\"example.org\"]\n    hop = \"boxes\"\n  }\n}\n", "inbound", text)
	case strings.HasPrefix(text, "route "):
		text = fmt.Sprintf("chain %q {\n%s}\n", "outbound", text)
	}
	if !strings.HasPrefix(text, "hostname") {
		text = "hostname = \"mail.example.org\"\n" + text
	}
	used, made := map[string]bool{}, map[string]bool{}
	collect := func() {
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			used[m[2]] = true
		}
		for _, m := range declaration.FindAllStringSubmatch(text, -1) {
			made[m[2]] = true
		}
	}
	collect()
	for _, m := range declaration.FindAllStringSubmatch(text, -1) {
		if used[m[2]] {
			continue
		}
		if m[1] == "chain" {
			text += fmt.Sprintf("smtp \"frame\" {\n  listen = [\"127.0.0.1:2500\"]\n  auth   = \"required\"\n  chain  = %q\n}\n", m[2])
		} else {
			text += fmt.Sprintf("lmtp \"frame\" {\n  listen = [\"unix:frame\"]\n  chain  = \"frame\"\n}\nchain \"frame\" {\n  route \"in\" {\n    to  = [\"example.org\"]\n    hop = %q\n  }\n}\n", m[2])
		}
	}
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if collect(); m[1] == "chain" && !made[m[2]] {
			text += fmt.Sprintf("chain %q {\n  filter \"spf\" {}\n  route \"in\" {\n    to  = [\"example.org\"]\n    hop = \"boxes\"\n  }\n}\n", m[2])
		}
	}
	if collect(); used["boxes"] && !made["boxes"] {
		text += "maildrop \"boxes\" {}\n"
	}
	if used["internet"] && !made["internet"] {
		text += "upstream \"internet\" {\n  mx   = true\n  mode = \"queue\"\n}\n"
	}
	if !listener.MatchString(text) {
		text += "web \"frame\" {\n  listen = [\"127.0.0.1:2500\"]\n}\n"
	}
	return text
}

// rsaCert returns a self-signed certificate and its RSA key.
func rsaCert(t *testing.T, name string) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
}

// exampleData writes the files that the examples refer to: certificate, keys,
// accounts.
func exampleData(t *testing.T, data string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := rsaCert(t, "mail.example.org")
	for name, text := range map[string][]byte{
		"dkim/example.org/s2026.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"partner-ca.pem":             cert,
		"tls/cert.pem":               cert,
		"tls/key.pem":                cert, // the certificate file also contains the key
		"tls/partner.pem":            cert,
		"tls/partner.key":            cert,
		"users":                      []byte("ann@example.org\n"),
	} {
		path := filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Every configuration shown in README.md and docs is free of mistakes and
// warnings, and is not an open relay.
func TestExamplesOfDocs(t *testing.T) {
	list := examples(t)
	if len(list) < 15 {
		t.Fatalf("only %d examples", len(list))
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"PROVIDER_PASSWORD", "GMAIL_PASSWORD", "TSIG_SECRET"} {
		t.Setenv(name, "secret")
	}
	exampleData(t, "var")
	if err := os.WriteFile("m365.secret", []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		whole := frame(e.text)
		if err := os.WriteFile("relay.hcl", []byte(whole), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, file, err := config.Read("relay.hcl")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if good := Report(&out, cfg, file); !good || len(file.Diags.All()) > 0 {
			t.Errorf("%s:\n%s", e.place, &out)
		}
		if strings.HasPrefix(e.place, "README.md") && (whole != e.text || strings.Count(whole, "\n") > 40) {
			t.Errorf("%s: not a complete file in 40 lines", e.place)
		}
	}
}
