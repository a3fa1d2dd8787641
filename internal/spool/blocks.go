package spool

import "sync"

// pieceSize is the size of all pieces except the first.
const pieceSize = 256 << 10

// The memory of spools is reused, because otherwise the spool of a 100 KiB
// message would be most of the garbage created in handling the message.
var (
	classes = [...]int{4 << 10, 32 << 10, pieceSize, inOnePiece}
	blocks  [len(classes)]sync.Pool
)

// takeBlock returns an empty block with capacity for n octets, which must not
// exceed inOnePiece.
func takeBlock(n int) []byte {
	for i, size := range classes {
		if n > size {
			continue
		}
		if b, ok := blocks[i].Get().(*[]byte); ok {
			return (*b)[:0]
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n)
}

// giveBlock makes a block available for reuse. The caller must not use it
// afterwards.
func giveBlock(b []byte) {
	for i, size := range classes {
		if cap(b) == size {
			blocks[i].Put(&b)
			return
		}
	}
}
