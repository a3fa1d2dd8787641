package mtasts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hoplite/internal/files"
	"hoplite/internal/resolve"
)

// Cache holds the policies of domains.
type Cache struct {
	dns    resolve.Resolver
	client *http.Client
	path   string // "": nothing is kept across restarts

	mu      sync.Mutex
	entries *lru.Cache[string, entry]
}

// entry is the cached information about one domain.
type entry struct {
	ID      string    `json:"id"`
	Policy  Policy    `json:"policy"`
	Fetched time.Time `json:"fetched"`
	// asked is the time of the last attempt to fetch the policy, and failed its
	// error.
	asked  time.Time
	failed error
}

const (
	maxDomains   = 10000
	fetchTimeout = time.Minute // RFC 8461, 3.3
	// retryAfter is the wait after a failed fetch, and refreshAfter the age at
	// which a policy is fetched again even if its id is unchanged.
	retryAfter   = 5 * time.Minute
	refreshAfter = 24 * time.Hour
)

// New returns a cache that looks up ids with dns and fetches policies with
// client. The cache is stored in the file at path, unless path is empty.
func New(dns resolve.Resolver, client *http.Client, path string) *Cache {
	c := &Cache{dns: dns, path: path}
	c.entries, _ = lru.New[string, entry](maxDomains)
	own := *client
	// A policy host must not redirect (RFC 8461, 3.3).
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Timeout = fetchTimeout
	c.client = &own
	c.load()
	return c
}

// Lookup returns a domain's policy; ok is false if it has none. A policy that
// cannot be fetched is treated as missing unless an earlier one is still valid.
// An attacker who blocks the fetch therefore cannot remove a policy (RFC 8461,
// 10.2).
func (c *Cache) Lookup(ctx context.Context, domain string) (p Policy, ok bool) {
	now := time.Now()
	e, _ := c.get(domain)
	txt, err := resolve.LookupTXT(ctx, c.dns, "_mta-sts."+domain)
	id := parseRecord(txt)
	switch {
	case err != nil, id == "", id == e.ID && now.Sub(e.Fetched) < refreshAfter:
		return e.valid(now)
	case now.Sub(e.asked) < retryAfter:
		return e.valid(now)
	}
	e.asked = now
	policy, err := c.fetch(ctx, domain)
	if e.failed = err; err == nil {
		e.ID, e.Policy, e.Fetched = id, policy, now
	}
	c.put(domain, e, err == nil)
	return e.valid(now)
}

// Failed returns the error of the last attempt to fetch a domain's policy. An
// invalid policy is an [ErrInvalid].
func (c *Cache) Failed(domain string) error {
	e, _ := c.get(domain)
	return e.failed
}

// ErrInvalid means that a domain's policy file is not a valid policy.
var ErrInvalid = errors.New("invalid policy")

// valid returns the policy if it has not expired. Setting the clock back does
// not make a policy valid for longer than its max_age.
func (e entry) valid(now time.Time) (Policy, bool) {
	age := now.Sub(e.Fetched)
	return e.Policy, !e.Fetched.IsZero() && age > -time.Hour && age < e.Policy.MaxAge && e.Policy.Mode != None
}

func (c *Cache) get(domain string) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries.Get(domain)
}

func (c *Cache) put(domain string, e entry, save bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Add(domain, e)
	if save {
		c.save()
	}
}

// fetch fetches a domain's policy file. The host's certificate is verified as
// for any HTTPS request.
func (c *Cache) fetch(ctx context.Context, domain string) (Policy, error) {
	url := "https://mta-sts." + domain + "/.well-known/mta-sts.txt"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Policy{}, err
	}
	reply, err := c.client.Do(request)
	if err != nil {
		return Policy{}, err
	}
	defer reply.Body.Close()
	kind, _, _ := mime.ParseMediaType(reply.Header.Get("Content-Type"))
	switch {
	case reply.StatusCode != http.StatusOK:
		return Policy{}, fmt.Errorf("%s: %s", url, reply.Status)
	case kind != "text/plain":
		return Policy{}, fmt.Errorf("%s: the content type is %q, not text/plain", url, kind)
	}
	b, err := io.ReadAll(io.LimitReader(reply.Body, maxPolicySize+1))
	if err != nil {
		return Policy{}, err
	}
	if len(b) > maxPolicySize {
		return Policy{}, fmt.Errorf("%s: larger than %d octets", url, maxPolicySize)
	}
	p, err := ParsePolicy(string(b))
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return p, nil
}

// load reads the file. Policies that cannot be read are fetched again.
func (c *Cache) load() {
	if c.path == "" {
		return
	}
	b, err := os.ReadFile(c.path)
	if err != nil {
		return
	}
	kept := map[string]entry{}
	if json.Unmarshal(b, &kept) != nil {
		return
	}
	for domain, e := range kept {
		c.entries.Add(domain, e)
	}
}

// save writes the file. If that fails, the policies are fetched again after a
// restart.
func (c *Cache) save() {
	if c.path == "" {
		return
	}
	kept := map[string]entry{}
	for _, domain := range c.entries.Keys() {
		if e, ok := c.entries.Peek(domain); ok && !e.Fetched.IsZero() {
			kept[domain] = e
		}
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return
	}
	if os.MkdirAll(filepath.Dir(c.path), 0o750) == nil {
		files.Write(c.path, b, 0o640)
	}
}
