package resolve

// What the tests of package resolve_test need to see: resolvetest imports this
// package, so tests with a zone cannot be inside it.
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
