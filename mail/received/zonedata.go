package received

// longZones are the names of zones in words, without "Standard Time", "Daylight
// Time" or "Summer Time", and their distance from UTC in minutes. Sources: the
// Windows zone names (Unicode CLDR, windowsZones.xml, release 47) and the
// English metazone names of CLDR.
var longZones = map[string]int{
	"dateline": -720, "aleutian": -600, "hawaiian": -600, "hawaii-aleutian": -600, "marquesas": -570, "alaskan": -540, "alaska": -540,
	"pacific": -480, "north american pacific": -480, "us mountain": -420, "mountain": -420, "north american mountain": -420, "central america": -360,
	"central": -360, "north american central": -360, "canada central": -360, "mexico": -360, "sa pacific": -300, "colombia": -300, "peru": -300,
	"eastern": -300, "north american eastern": -300, "us eastern": -300, "venezuela": -240, "paraguay": -240, "atlantic": -240, "sa western": -240,
	"pacific sa": -240, "chile": -240, "newfoundland": -210, "e. south america": -180, "brasilia": -180, "argentina": -180, "sa eastern": -180,
	"montevideo": -180, "uruguay": -180, "bahia": -180, "azores": -60, "cape verde": -60, "gmt": 0, "greenwich": 0, "western european": 0,
	"w. europe": 60, "central europe": 60, "central european": 60, "romance": 60, "w. central africa": 60, "west africa": 60,
	"gtb": 120, "middle east": 120, "egypt": 120, "e. europe": 120, "eastern european": 120, "south africa": 120, "central africa": 120, "fle": 120,
	"israel": 120, "jerusalem": 120, "arabic": 180, "arab": 180, "arabia": 180, "russian": 180, "moscow": 180, "turkey": 180, "e. africa": 180, "east africa": 180,
	"iran": 210, "arabian": 240, "gulf": 240, "azerbaijan": 240, "mauritius": 240, "georgian": 240, "georgia": 240, "caucasus": 240, "armenia": 240, "afghanistan": 270,
	"west asia": 300, "pakistan": 300, "ekaterinburg": 300, "yekaterinburg": 300, "india": 330, "sri lanka": 330, "nepal": 345, "bangladesh": 360, "myanmar": 390,
	"se asia": 420, "indochina": 420, "western indonesia": 420, "n. central asia": 420, "north asia": 420, "china": 480, "singapore": 480, "hong kong": 480, "taipei": 480,
	"philippine": 480, "malaysia": 480, "w. australia": 480, "australian western": 480, "ulaanbaatar": 480, "tokyo": 540, "japan": 540, "korea": 540, "korean": 540,
	"yakutsk": 540, "cen. australia": 570, "aus central": 570, "australian central": 570, "e. australia": 600, "aus eastern": 600, "australian eastern": 600,
	"west pacific": 600, "tasmania": 600, "vladivostok": 600, "central pacific": 660, "new zealand": 720, "fiji": 720, "tonga": 780, "samoa": 780,
}

// wholeZones are names that contain their own season. Sources: as above, and
// the names of the German and French editions of Windows.
var wholeZones = map[string]int{
	"greenwich mean time": 0, "coordinated universal time": 0, "universal time": 0, "british summer time": 60, "irish standard time": 60,
	"mitteleuropäische zeit": 60, "mitteleuropäische normalzeit": 60, "mitteleuropäische sommerzeit": 120, "mitteleurop. zeit": 60, "mitteleurop. sommerzeit": 120,
	"westeuropäische normalzeit": 60, "westeuropäische sommerzeit": 120, "osteuropäische zeit": 120, "osteuropäische sommerzeit": 180,
	"heure normale d'europe centrale": 60, "heure d'été d'europe centrale": 120, "paris, madrid": 60, "paris, madrid (heure d'été)": 120,
	"hora estándar romance": 60, "hora de verano romance": 120, "ora solare europa occidentale": 60, "ora legale europa occidentale": 120,
}

// foreignMonths are the months of French, German, Spanish, Portuguese and
// Italian mail programs, as far as their first letters are not English, in lower
// case without the final dot.
var foreignMonths = map[string]int{
	"janv": 1, "janvier": 1, "jän": 1, "jänner": 1, "ene": 1, "enero": 1, "janeiro": 1, "gen": 1, "gennaio": 1,
	"fév": 2, "févr": 2, "février": 2, "fev": 2, "fevereiro": 2, "febbraio": 2,
	"mär": 3, "märz": 3, "mrz": 3, "mars": 3, "março": 3, "marzo": 3,
	"avr": 4, "avril": 4, "abr": 4, "abril": 4, "aprile": 4,
	"mai": 5, "maio": 5, "mayo": 5, "mag": 5, "maggio": 5,
	"juin": 6, "junho": 6, "junio": 6, "giu": 6, "giugno": 6,
	"juil": 7, "juillet": 7, "julho": 7, "julio": 7, "lug": 7, "luglio": 7,
	"août": 8, "aout": 8, "ago": 8, "agosto": 8,
	"set": 9, "setembro": 9, "settembre": 9, "septiembre": 9,
	"out": 10, "outubro": 10, "ott": 10, "ottobre": 10, "octubre": 10, "okt": 10,
	"novembre": 11, "noviembre": 11, "novembro": 11,
	"déc": 12, "décembre": 12, "dez": 12, "dezembro": 12, "dezember": 12, "dic": 12, "diciembre": 12, "dicembre": 12,
}

// foreignDays are the weekdays in the same languages. They are only skipped.
var foreignDays = map[string]bool{
	"lun": true, "mar": true, "mer": true, "jeu": true, "ven": true, "sam": true, "dim": true,
	"lundi": true, "mardi": true, "mercredi": true, "jeudi": true, "vendredi": true, "samedi": true, "dimanche": true,
	"mo": true, "di": true, "mi": true, "do": true, "fr": true, "sa": true, "so": true, "die": true, "mit": true, "don": true, "fre": true, "son": true,
	"montag": true, "dienstag": true, "mittwoch": true, "donnerstag": true, "freitag": true, "samstag": true, "sonnabend": true, "sonntag": true,
	"mié": true, "jue": true, "vie": true, "sáb": true, "dom": true, "lunes": true, "martes": true, "miércoles": true, "jueves": true, "viernes": true, "sábado": true, "domingo": true,
	"seg": true, "ter": true, "qua": true, "qui": true, "sex": true, "gio": true, "sab": true,
	"segunda": true, "terça": true, "quarta": true, "quinta": true, "sexta": true,
	"lunedì": true, "martedì": true, "mercoledì": true, "giovedì": true, "venerdì": true, "sabato": true, "domenica": true,
}
