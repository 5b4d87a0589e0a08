// Package safetensors reads and writes tensors in the safetensors format, alone
// or as a model folder of several shards.
//
// # Words
//
// A tensor is a name, an element type (DType), a shape and row-major,
// little-endian data. A shard is one file of a model that is spread over
// several; the index, model.safetensors.index.json, says which tensor is in
// which shard.
//
// # The file, byte by byte
//
//	0      8  length N of the header, unsigned, little-endian; at most 100,000,000
//	8      N  header: JSON in UTF-8 that begins with '{', padded at the end with
//	          spaces (0x20)
//	8+N       data: the tensors, one behind the other
//
// The header is one object. "__metadata__", if there, maps strings to strings.
// Every other member is a tensor:
//
//	"name": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}
//
// with offsets counted from the start of the data. A shape may be empty (one
// element) or hold zeros (no element).
//
// # What is checked
//
// A file comes from somebody else and is believed in nothing: the header must
// lie inside the file; no key may occur twice; an entry holds exactly the three
// members above; end-begin must be what type and shape ask for, computed
// without overflow; the ranges must follow one another from 0 without hole or
// overlap, and the last must end where the file ends. Memory used is
// proportional to the header, whatever it claims. Everything that is wrong is
// reported, with the byte that it is at.
//
// Source of the format: github.com/huggingface/safetensors.
package safetensors
