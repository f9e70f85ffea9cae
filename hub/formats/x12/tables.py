"""What 005010 allows, as tables: data elements, segments, composites, and the loops of each transaction set.

Facts about the standard (X12.22, X12.3) and about the implementations 005010X279A1 (270/271), 005010X231A1 (999) and
005010X212 (276/277), written down from codes and positions; no text of X12 is in here.  `schema.py` reads the tables.

ELEMENTS: number, type, shortest, longest.  Types: ID code, AN text, DT day, TM time, R decimal number, Nn whole number.
SEGMENTS: id, then its elements in order.  `!` the standard demands it, `*n` it may be repeated n times, after `|` the
conditions between elements: P all or none, R at least one, E at most one, C and L if the first then all, one of the others.
COMPOSITES: the same for the parts of an element.
LOOPS: one line for a loop (`2100A S 1`) or a segment (`NM1 R 1`): R required or S situational, how often (`-`: any
number); deeper lines stand in the loop above.  Then what is narrower than in the standard: `1=A,B` these codes, `1=@NAME` a
set of `codes.py`, `1!` demanded by the implementation, `1-` not used.  `HL*22` is the loop of this HL03.
"""

from __future__ import annotations

from textwrap import indent

ELEMENTS = """
2 N0 1 6|19 AN 2 30|26 ID 2 3|28 N0 1 9|66 ID 1 2|67 AN 2 80|93 AN 1 60|97 N0 1 6|98 ID 2 3|116 ID 3 15|123 N0 1 6|127 AN 1 50
128 ID 2 3|143 ID 3 3|156 ID 2 2|166 AN 1 55|234 AN 1 48|235 ID 2 2|306 ID 1 2|309 ID 1 2|310 AN 1 30|329 AN 4 9|337 TM 4 8
352 AN 1 80|353 ID 2 2|355 ID 2 2|364 AN 1 256|365 ID 2 2|366 ID 2 2|373 DT 8 8|374 ID 3 3|380 R 1 15|429 AN 1 16|443 AN 1 20
447 AN 1 4|478 ID 1 1|479 ID 2 2|480 AN 1 12|481 ID 1 2|509 AN 10 10|522 ID 1 3|559 ID 2 2|584 ID 2 2|591 ID 3 3|615 ID 1 2
616 N0 1 3|618 ID 1 3|620 ID 1 3|621 ID 1 3|628 AN 1 12|640 ID 2 2|659 ID 1 2|673 ID 2 2|678 ID 1 2|679 ID 1 1|706 ID 2 2
715 ID 1 1|716 ID 1 3|717 ID 1 1|719 N0 1 10|721 ID 2 3|722 N0 1 2|724 AN 1 99|725 N0 1 4|734 AN 1 12|735 ID 1 2|736 ID 1 1
752 ID 1 2|782 R 1 18|799 AN 1 30|875 ID 3 3|889 ID 1 1|901 ID 2 2|933 AN 1 264|934 ID 2 2|954 R 1 10|996 R 1 12|1005 ID 4 4
1035 AN 1 60|1036 AN 1 35|1037 AN 1 25|1038 AN 1 10|1039 AN 1 10|1065 ID 1 1|1066 ID 1 2|1067 ID 1 1|1068 ID 1 1|1069 ID 2 2
1073 ID 1 1|1136 ID 2 2|1165 ID 1 1|1167 R 1 6|1201 ID 1 1|1203 ID 1 2|1204 AN 1 50|1207 ID 3 3|1216 ID 1 1|1219 ID 1 2
1220 ID 1 1|1221 ID 1 3|1223 ID 3 3|1250 ID 2 3|1251 AN 1 35|1270 ID 1 3|1271 AN 1 30|1328 N0 1 2|1336 ID 1 3|1339 AN 2 2
1365 ID 1 2|1390 ID 1 2|1470 N0 1 9|1528 N0 1 2|1595 ID 1 1|1596 ID 2 2|1686 N0 1 4|1705 AN 1 35|1715 ID 1 3|9998 AN 1 35
9999 AN 1 35|96 N0 1 10
"""

SEGMENTS = """
AAA 1073! 559 901 889
AK1 479! 28! 480
AK2 143! 329! 1705
AK9 715! 97! 123! 2! 716 716 716 716 716
AMT 522! 782! 478
BHT 1005! 353! 127 373 337 640
CTX C998!*10 721 719 447 - -
DMG 1250 1251 1068 1067 C056*10 1066 26 659 380 1270 1271 | P0102 P1011 C1105
DTP 374! 1250! 1251!
EB 1390! 1207 1365*99 1336 1204 615 782 954 673 380 1073 1073 C003 C004 | P0910
EQ 1365*99 C003 1207 1336 C004 | R0102
HI C022! C022 C022 C022 C022 C022 C022 C022 C022 C022 C022 C022
HL 628! 734 735! 736
HSD 673 380 355 1167 615 616 678 679 | P0102 C0605
III 1270 1271 1136 933 380 C001 752 752 752 | P0102 L030405
IK3 721! 719! 447 620
IK4 C030! 725 621! 724
IK5 717! 618 618 618 618 618
INS 1073! 1069! 875 1203 1216 C052 1219 584 1220 1073 1250 1251 1165 19 156 26 1470 | P1112
LE 447!
LS 447!
MPI 1201! 584! 1595! 352 1596 1250 1251 | P0607
MSG 933! 934 1470 | C0302
N3 166! 166
N4 19 156 116 26 309 310 1715 | E0207 C0605 C0704
NM1 98! 1065! 1035 1036 1037 1038 1039 66 67 706 98 1035 | P0809 C1110 C1203
PER 366! 93 365 364 365 364 365 364 443 | P0304 P0506 P0708
PRV 1221! 128 127 156 C035 1223 | P0203
REF 128! 127 352 C040 | R0203
SE 96! 329!
ST 143! 329! 1705
STC C043! 373 306 782 782 373 591 373 429 C043 C043 933
SVC C003! 782! 782 234 380 C003 380
TRN 481! 127! 509 127
"""

COMPOSITES = """
C001 355! 1018 649 355 1018 649 355 1018 649 355 1018 649 355 1018 649
C003 235! 234! 1339 1339 1339 1339 352 234
C004 1328! 1328 1328 1328
C022 1270! 1271! 1250 1251 782 380 799 1271 1073
C030 722! 1528 1686
C035 1222! 559 1073
C040 128! 127! 128 127 128 127 | P0304 P0506
C043 1271! 1271! 98 1270
C052 1218! 1218 1218 1218
C056 1109 1270 1271 | P0203
C998 9998! 9999
C999 725! 725
"""


def _under(depth: int, lines: str, **words: str) -> str:
    """Lines that several loops have in common, at their place in one."""
    return indent(lines.strip("\n").format(**words), " " * depth) + "\n"


_PAYER = """
2100A R 1
 NM1 R 1 1=2B,36,GP,P5,PR 2=1,2 8=24,46,FI,NI,PI,XV,XX 9! 10- 11- 12-
"""

_PROVIDER = """
NM1 R 1 1=1P,2B,36,80,FA,GP,P5,PR 2=1,2 8=24,34,FI,PI,PP,SV,XV,XX 9! 10- 11- 12-
REF S 9 1=@REF_PROVIDER 2! 4-
N3 S 1
N4 S 1
"""

_PERSON_271 = """
NM1 R 1 1={nm1} 2=1,2 8=II,MI 10- 11- 12-
REF S 9 1=@REF_MEMBER 2! 4-
N3 S 1
N4 S 1
AAA S 9 1=@YES_NO 2- 3! 3=@{aaa} 4! 4=@FOLLOW_UP
PRV S 1 1=@PRV01 2=@PRV02
DMG S 1 1=D8 3=@SEX
INS S 1 1={ins} 2=@{relationship}
HI S 1
DTP S 9 1=@DTP_MEMBER 2=D8,RD8
MPI S 1 1=@MPI01 2=@MPI02 3=@MPI03
2110{x} S -
 EB S 1 1=@EB01 2=@EB02 3=@SERVICE_TYPES 4=@EB04 6=@PERIODS 9=@QUANTITIES 11=@YES_NO_UNKNOWN 12=@NETWORK
 HSD S 9 1=@HSD01 3=@HSD03 5=@PERIODS
 REF S 9 1=@REF_BENEFIT 2! 4-
 DTP S 20 1=@DTP_BENEFIT 2=D8,RD8
 AAA S 9 1=@YES_NO 2- 3! 3=@AAA_BENEFIT 4! 4=@FOLLOW_UP
 MSG S 10 2- 3-
 2115{x} S 10
  III S 1 1=@III01
 LS S 1 1=2120
 2120{x} S 23
  NM1 R 1 1=@NM1_BENEFIT 2=1,2 8=@NM108_BENEFIT 10- 11- 12-
  N3 S 1
  N4 S 1
  PER S 3 1=IC 3=@PER03 5=@PER03 7=@PER03
  PRV S 1 1=@PRV01 2=@PRV02
 LE S 1 1=2120
"""

_AAA_PAYER = "AAA S 9 1=@YES_NO 2- 3! 3=@AAA_PAYER 4! 4=@FOLLOW_UP"

_271 = (
    """
ST R 1 1=271
BHT R 1 1=0022 2=06,11 4! 5! 6-
2000A R - HL*20
 HL R 1 4! 4=0,1
"""
    + _under(1, _AAA_PAYER)
    + _under(1, _PAYER)
    + "  PER S 3 1=IC 3=@PER03 5=@PER03 7=@PER03\n"
    + _under(2, _AAA_PAYER)
    + """
 2000B S - HL*21
  HL R 1 2! 4! 4=0,1
  2100B R 1
"""
    + _under(3, _PROVIDER)
    + """
   AAA S 9 1=@YES_NO 2- 3! 3=@AAA_PROVIDER 4! 4=@FOLLOW_UP
   PRV S 1 1=@PRV01 2=@PRV02
  2000C S - HL*22
   HL R 1 2! 4! 4=0,1
   TRN S 3 1=1,2 3!
   2100C R 1
"""
    + _under(4, _PERSON_271, nm1="IL", aaa="AAA_SUBSCRIBER", ins="Y", relationship="SUBSCRIBER", x="C")
    + """
   2000D S - HL*23
    HL R 1 2! 4! 4=0
    TRN S 3 1=1,2 3!
    2100D R 1
"""
    + _under(5, _PERSON_271, nm1="03", aaa="AAA_DEPENDENT", ins="N", relationship="DEPENDENT", x="D")
    + "SE R 1\n"
)

_PERSON_270 = """
NM1 R 1 1={nm1} 2=1 8=II,MI 10- 11- 12-
REF S 9 1=@REF_MEMBER 2! 4-
N3 S 1
N4 S 1
PRV S 1 1=@PRV01 2=@PRV02
DMG S 1 1=D8 3=@SEX
INS S 1 1={ins} 2=@{relationship}
HI S 1
DTP S 2 1=102,291 2=D8,RD8
2110{x} S 99
 EQ S 1 1=@SERVICE_TYPES 3=@EB02 4=@EB04
 AMT S 2 1=R,PB
 III S 10 1=@III01
 REF S 1 1=9F,G1 2!
 DTP S 1 1=291 2=D8,RD8
"""

_270 = (
    """
ST R 1 1=270 3!
BHT R 1 1=0022 2=01,13,36 4! 5! 6=RT,RU
2000A R - HL*20
 HL R 1 4! 4=1
"""
    + _under(1, _PAYER)
    + """
 2000B R - HL*21
  HL R 1 2! 4! 4=1
  2100B R 1
"""
    + _under(3, _PROVIDER)
    + """
   PRV S 1 1=@PRV01 2=@PRV02
  2000C R - HL*22
   HL R 1 2! 4! 4=0,1
   TRN S 2 1=1 3!
   2100C R 1
"""
    + _under(4, _PERSON_270, nm1="IL", ins="Y", relationship="SUBSCRIBER", x="C")
    + """
   2000D S - HL*23
    HL R 1 2! 4! 4=0
    TRN S 2 1=1 3!
    2100D R 1
"""
    + _under(5, _PERSON_270, nm1="03", ins="N", relationship="DEPENDENT", x="D")
    + "SE R 1\n"
)

_CLAIM_276 = """
2200{x} S -
 TRN R 1 1=1
 REF S 7 1=@REF_CLAIM 2!
 AMT S 1 1=T3
 DTP S 1 1=472 2=D8,RD8
 2210{x} S -
  SVC R 1
  REF S 1 1=FJ 2!
  DTP R 1 1=472 2=D8,RD8
"""

_276 = (
    """
ST R 1 1=276 3!
BHT R 1 1=0010 2=13 3! 4! 5!
2000A R - HL*20
 HL R 1 4! 4=1
 2100A R 1
  NM1 R 1 1=PR 2=2 8=PI,XV 9!
 2000B R - HL*21
  HL R 1 2! 4! 4=1
  2100B R 1
   NM1 R 1 1=41 2=1,2 8=46 9!
  2000C R - HL*19
   HL R 1 2! 4! 4=1
   2100C R 2
    NM1 R 1 1=1P 2=1,2 8=FI,SV,XX 9!
   2000D R - HL*22
    HL R 1 2! 4! 4=0,1
    DMG S 1 1=D8 3=@SEX
    2100D R 1
     NM1 R 1 1=IL 2=1,2 8=24,II,MI 9!
"""
    + _under(4, _CLAIM_276, x="D")
    + """
    2000E S - HL*23
     HL R 1 2!
     DMG R 1 1=D8 3=@SEX
     2100E R 1
      NM1 R 1 1=QC 2=1
"""
    + _under(5, _CLAIM_276, x="E")
    + "SE R 1\n"
)

_CLAIM_277 = """
2200{x} S -
 TRN R 1 1=2
 STC R - 3=@STC03
 REF S 9 1=@REF_CLAIM 2!
 DTP S 2 1=050,472 2=D8,RD8
 2220{x} S -
  SVC R 1
  STC R - 3=@STC03
  REF S 1 1=FJ 2!
  DTP R 1 1=472 2=D8,RD8
"""

_277 = (
    """
ST R 1 1=277 3!
BHT R 1 1=0010 2=08 3! 4! 5! 6=DG
2000A R - HL*20
 HL R 1 4! 4=1
 2100A R 1
  NM1 R 1 1=PR 2=2 8=PI,XV 9!
  PER S 1 1=IC 3=@PER03 5=@PER03 7=@PER03
 2000B R - HL*21
  HL R 1 2! 4! 4=0,1
  2100B R 1
   NM1 R 1 1=41 2=1,2 8=46 9!
  2200B S -
   TRN R 1 1=2
   STC R - 3=@STC03
  2000C S - HL*19
   HL R 1 2! 4! 4=0,1
   2100C R 2
    NM1 R 1 1=1P 2=1,2 8=FI,SV,XX 9!
   2200C S -
    TRN R 1 1=1,2
    STC R - 3=@STC03
   2000D S - HL*22
    HL R 1 2! 4! 4=0,1
    2100D R 1
     NM1 R 1 1=IL 2=1,2 8=24,II,MI 9!
"""
    + _under(4, _CLAIM_277, x="D")
    + """
    2000E S - HL*23
     HL R 1 2!
     2100E R 1
      NM1 R 1 1=QC 2=1
"""
    + _under(5, _CLAIM_277, x="E")
    + "SE R 1\n"
)

_999 = """
ST R 1 1=999 3!
AK1 R 1
2000 S -
 AK2 R 1
 2100 S -
  IK3 R 1 4! 4=@IK3_ERRORS
  CTX S 10
  2110 S -
   IK4 R 1 3=@IK4_ERRORS
   CTX S 10
 IK5 R 1 1=A,E,M,R,W,X
AK9 R 1 1=A,E,M,P,R,W,X
SE R 1
"""

SETS = {"270": _270, "271": _271, "276": _276, "277": _277, "999": _999}
"""The loops of each transaction set the hub reads."""
