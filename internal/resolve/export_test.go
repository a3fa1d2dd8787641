package resolve

// Internals that package resolve_test needs. Tests with a zone cannot be in
// package resolve, because resolvetest imports it.
const (
	FailureTTL   = failureTTL
	DefaultNoTTL = defaultNoTTL
	MaxRecords   = maxRecords
)

var (
	NewQuery    = newQuery
	ParseAnswer = parseAnswer
)

func (c *Client) SetHosts(path string) { c.hosts.path = path }

func (c *Cached) Kept() int { return c.kept.Len() }
