package users

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// cryptScheme is a scheme of crypt(3) that an imported hash may have. Such
// hashes are only checked, never created: the first login by password replaces
// them with SCRAM keys.
type cryptScheme struct {
	salt   int // number of salt octets that are used
	sum    int // length of the encoded hash
	rounds bool
	decode func(string) (algorithm.Digest, error)
}

var cryptSchemes = map[string]cryptScheme{
	"1": {salt: 8, sum: 22, decode: md5crypt.DecodeVariant(md5crypt.VariantStandard)},
	"5": {salt: 16, sum: 43, rounds: true, decode: shacrypt.DecodeVariant(shacrypt.VariantSHA256)},
	"6": {salt: 16, sum: 86, rounds: true, decode: shacrypt.DecodeVariant(shacrypt.VariantSHA512)},
}

// parseCrypt parses $1$salt$hash (MD5), $5$ (SHA-256) or $6$ (SHA-512); the
// last two may contain rounds=. The number of rounds is bounded, and raised to
// at least 1,000 as in crypt(3).
func parseCrypt(text string) (algorithm.Digest, error) {
	f := strings.Split(text, "$")
	if len(f) < 4 || f[0] != "" {
		return nil, errScheme
	}
	scheme, ok := cryptSchemes[f[1]]
	if !ok {
		return nil, errScheme
	}
	prefix, f := "$"+f[1]+"$", f[2:]
	if r, ok := strings.CutPrefix(f[0], "rounds="); ok && scheme.rounds {
		n, err := strconv.Atoi(r)
		if err != nil || n < 1 || n > maxIterations {
			return nil, fmt.Errorf("crypt hash: rounds %q: want a number up to %d", r, maxIterations)
		}
		prefix += fmt.Sprintf("rounds=%d$", max(n, shacrypt.IterationsMin))
		f = f[1:]
	}
	if len(f) != 2 {
		return nil, fmt.Errorf("crypt hash: want %ssalt$hash", prefix)
	}
	salt, sum := f[0], f[1]
	if len(sum) != scheme.sum {
		return nil, fmt.Errorf("crypt hash: %d characters, want %d", len(sum), scheme.sum)
	}
	d, err := scheme.decode(prefix + salt[:min(len(salt), scheme.salt)] + "$" + sum)
	if err != nil {
		return nil, fmt.Errorf("crypt hash: %w", err)
	}
	return d, nil
}
