"""The codes of a shop's till (``FRZN MEAT/MEAT DNRS``) -> words that a person reads."""

import re

_PAIRS = """
ACCSS=Accessories BBQ=BBQ BEERALEMALT=Beer,_Ale_&_Malt BEV=Beverages BG=Bags BKD=Baked
BKNGWARES=Bakingwares BN=Bun BNDGES=Bandages BR=Breakfast BRD=Bread BRKFST=Breakfast BTL=Bottle
BTR=Butter CARB=Carbonated CATFD=Cat_Food CHILDRENS=Children's CHIX=Chicken CHOC=Chocolate
CHP=Chips CKE=Cake CKYS=Cookies CND=Canned CNDLES=Candles CNDY=Candy CNTRL=Central COFF=Coffee
CONC=Concentrate CONT=Contributions CRBNTD=Carbonated CRKR=Crackers CRMD=Creamed CRYSTL=Crystals
DEOD=Deodorant DISHWASH=Dishwashing DNR=Dinner DNRS=Dinners DOGFD=Dog_Food DPS=Dips DRNK=Drink
DRNKING=Drinking DRNKNG=Drinking DRNKS=Drinks DRP=Drops DRSNG=Dressing DSH=Dish DVD=DVD
ELSTC=Elastic EXP=Expense FD=Food FDS=Foods FEM=Feminine FLAV=Flavored FLVR=Flavored
FLVRD=Flavored FRD=Fried FRZ=Frozen FRZN=Frozen GDS=Goods GM=General_Merchandise GNGR=Ginger
GRND=Ground HBC=Health_&_Beauty HYGN=Hygiene INCL=Including INGRED=Ingredients IQF=IQF JCE=Juice
LIQ=Liquid LIQS=Liquids LOZNG=Lozenges LSS=Less LTR=Liter MACH=Machine MENS=Men's
MERCH=Merchandise MFG=Manufacturer MISC=Miscellaneous MIXS=Mixes MLK=Milk MLT=Multi MNRL=Mineral
MW=Microwave MX=Mix MXS=Mixes NZ=NZ OJ=OJ OTHE=Other OTYHER=Other PAC=Packed PCKGD=Packaged
PK=Pack PKG=Package PKGD=Packaged PKLD=Pickled PLSTC=Plastic PNCH=Punch PNT=Peanut PPK=Prepack
PREM=Premium PREP=Prepared PREPORTND=Preportioned PROD=Produce PRPCK=Prepack PRSLC=Presliced
PWDR=Powder PWDRS=Powders REFRGRATD=Refrigerated REFRIG=Refrigerated REG=Regular RETL=Retail
RTD=Ready_to_Drink RTS=Ready_to_Serve SAL=Salad SALD=Salad SAUS=Sausage SFT=Soft SGL=Single
SHERBTS=Sherbets SHLFSH=Shellfish SLC=Sliced SMI=Semi SNDWCH=Sandwich SNGL=Single SNKS=Snacks
SPECILATY=Specialty SPF=SPF SPLY=Supply SPRD=Spread SRV=Serve STK=Stick SUP=Supplies
SUPPLEMEN=Supplement SUPRT=Supports SV=Service SW=Sweet SWT=Sweet SYRP=Syrup THN=Than TISS=Tissue
TORT=Tortilla TRANS=Transmission TRSH=Trash TV=TV USA=USA VAC=Vacuum VEG=Vegetables VEND=Vending
WHL=Whole WHLSM=Wholesome WHS=Warehouse WTR=Water XMAS=Christmas XPCTRNT=Expectorant
"""
_ABBREVIATIONS = dict(pair.split("=") for pair in _PAIRS.split())
"""What the till writes -> what it means; an underscore stands for a space."""
_PHRASES = {
    "DRUG GM": "Drug & General Merchandise",
    "GM MERCH EXP": "General Merchandise Expense",
    "ELECT &PLUMBING": "Electrical & Plumbing",
}
_SMALL = {"AND", "AT", "BY", "FOR", "IN", "NOT", "OF", "ON", "OR", "THE", "TO", "WITH"}
_UNITS = {"LTR": "L", "LTRS": "L", "LITER": "L", "L": "L", "ML": "ml", "GA": "gal", "DZ": "dozen",
          "DOZ": "dozen", "LD": "loads", "LDS": "loads", "LB": "lb", "LBS": "lb", "GM": "g",
          "SQ": "sq", "Z": "oz"}  # fmt: skip


def readable(code: str | None) -> str | None:
    """Return a code in words, None for an empty one.

    Abbreviations are written out, a parenthesis that the till cut off is left out.

    >>> readable("FRZN MEAT/MEAT DNRS (EXC")
    'Frozen Meat/Meat Dinners'
    """
    if code in _PHRASES:
        return _PHRASES[code]
    text = re.sub(r"\([^)]*$", "", code or "")
    text = re.sub(r"\bW/O\b", "without", text)
    text = re.sub(r"\bW/", "with ", text)
    text = re.sub(r"\s*&\s*", " & ", text)
    text = re.sub(r":\s*", ": ", text)
    text = re.sub(r"\b([A-Z]{3,}) S\b", r"\1'S", text)
    text = " ".join(text.split()).strip(" -/:,&")
    words = re.sub(r"[A-Za-z]+(?:'S)?", lambda match: _word(match[0]), text)
    return words[:1].upper() + words[1:] or None


def _word(word: str) -> str:
    if word in _ABBREVIATIONS:
        return _ABBREVIATIONS[word].replace("_", " ")
    if word in _SMALL or word in ("with", "without"):
        return word.lower()
    return word.capitalize()


def readable_size(code: str | None) -> str | None:
    """Return a package size with its units as people write them, None for an empty one.

    >>> readable_size("1/2  GAL")
    '1/2 gal'
    """
    text = " ".join((code or "").split())
    return re.sub(r"[A-Z]+", lambda match: _UNITS.get(match[0], match[0].lower()), text) or None
