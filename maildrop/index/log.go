package index

// Gone is a message that was expunged.
type Gone struct {
	UID    uint32
	ModSeq uint64
}

// Log is the append log of one folder.
type Log struct{}
