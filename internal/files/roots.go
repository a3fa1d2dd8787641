package files

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

var errNoCertificate = errors.New("the file has no certificate")

// Roots returns the certificates in a PEM file, to be trusted instead of those
// of the system. A relative path is below dir. If path is empty, Roots returns
// nil, which stands for the system's certificates.
func Roots(dir, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %w", path, errNoCertificate)
	}
	return pool, nil
}
