package archivetest

import (
	"encoding/binary"
	"hash/crc32"
)

// XZ returns an xz stream of blocks that are stored in chunks of LZMA2.
// dictionary is the coded size of the dictionary that each block announces.
func XZ(dictionary byte, blocks ...[]byte) []byte {
	b := []byte("\xfd7zXZ\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[6:]))
	index := []byte{0, byte(len(blocks))}
	for _, data := range blocks {
		start := len(b)
		head := []byte{2, 0, 0x21, 1, dictionary, 0, 0, 0}
		b = binary.LittleEndian.AppendUint32(append(b, head...), crc32.ChecksumIEEE(head))
		b = append(b, StoredLZMA2(data)...)
		index = binary.AppendUvarint(index, uint64(len(b)-start))
		index = binary.AppendUvarint(index, uint64(len(data)))
		b = append(b, make([]byte, -(len(b)-start)&3)...)
	}
	index = append(index, make([]byte, -len(index)&3)...)
	b = binary.LittleEndian.AppendUint32(append(b, index...), crc32.ChecksumIEEE(index))
	foot := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4))
	foot = append(foot, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(foot))
	return append(append(b, foot...), "YZ"...)
}

// StoredLZMA2 returns data as chunks that are not compressed.
func StoredLZMA2(data []byte) []byte {
	var b []byte
	control := byte(1)
	for len(data) > 0 {
		n := min(len(data), 1<<16)
		b = append(b, control, byte((n-1)>>8), byte(n-1))
		b = append(b, data[:n]...)
		data, control = data[n:], 2
	}
	return append(b, 0)
}
