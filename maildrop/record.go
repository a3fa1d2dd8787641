package maildrop

// load takes the folder's state from the index, if it has one.
func (f *Folder) load() {
	f.state.recent = max(f.state.recent, 1)
}

// record writes a change to the index.
func (f *Folder) record(c change) {}

// unload forgets the folder's state.
func (f *Folder) unload() {
	f.state = state{}
	f.snap.Store(nil)
}

// erase removes the folder's index.
func (f *Folder) erase() {}
