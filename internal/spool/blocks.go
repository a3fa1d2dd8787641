package spool

import "sync"

// pieceSize is the size of the pieces behind the first one.
const pieceSize = 256 << 10

// Memory of spools is used again: a message of 100 KiB would otherwise leave
// more garbage than everything else in its life.
var (
	classes = [...]int{4 << 10, 32 << 10, pieceSize, inOnePiece}
	blocks  [len(classes)]sync.Pool
)

// takeBlock gives an empty block with room for n octets, at most inOnePiece.
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

// giveBlock takes a block back. Nobody may hold a part of it.
func giveBlock(b []byte) {
	for i, size := range classes {
		if cap(b) == size {
			blocks[i].Put(&b)
			return
		}
	}
}
