package filters

// Inheritor is a filter with state in memory. Before the filter is used,
// Inherit passes it the state of another filter of the same kind and settings;
// both may run for a while and share the state.
type Inheritor interface {
	Inherit(from Filter)
}

// Inherit passes the state of the previous chain's filters to those of c,
// because a reload creates new filters and must not reset their state. A filter
// inherits from the one with the same settings; if there are several, they are
// matched in order. A filter with changed settings starts from its state on
// disk.
func (c *Chain) Inherit(from *Chain) {
	followed := make([]bool, len(from.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		next, ok := e.Filter.(Inheritor)
		if !ok {
			continue
		}
		for j := range from.Entries {
			if old := &from.Entries[j]; !followed[j] && old.Name == e.Name && old.settings == e.settings {
				followed[j] = true
				next.Inherit(old.Filter)
				break
			}
		}
	}
}
