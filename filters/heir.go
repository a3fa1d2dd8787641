package filters

// Heir is a filter that remembers what it saw. Inherit gives it what another
// filter of the same kind and settings knows, before it is used; both may be at
// work for a while, so that they share it.
type Heir interface {
	Inherit(from Filter)
}

// Inherit gives the filters of a chain what those of its forerunner remember: a
// reload of the configuration makes new ones, and senders shall not gain or lose
// by that. A filter follows one with the same settings; where several have them,
// the first follows the first. One whose settings were changed starts anew, from
// what it finds on disk.
func (c *Chain) Inherit(from *Chain) {
	followed := make([]bool, len(from.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		heir, ok := e.Filter.(Heir)
		if !ok {
			continue
		}
		for j := range from.Entries {
			if old := &from.Entries[j]; !followed[j] && old.Name == e.Name && old.settings == e.settings {
				followed[j] = true
				heir.Inherit(old.Filter)
				break
			}
		}
	}
}
