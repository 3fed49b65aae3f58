"""Which coin of CoinGecko a symbol of Bithumb is; checked by hand, since symbols are not unique."""

_PAIRS = """
BTC=bitcoin ETH=ethereum BNB=binancecoin SOL=solana ADA=cardano AVAX=avalanche-2 DOT=polkadot
ATOM=cosmos LINK=chainlink UNI=uniswap BCH=bitcoin-cash XRP=ripple TRX=tron DOGE=dogecoin
SHIB=shiba-inu PEPE=pepe TON=the-open-network XLM=stellar HBAR=hedera-hashgraph
CRO=crypto-com-chain SUI=sui MNT=mantle WLD=worldcoin-wld NEAR=near ENA=ethena
WLFI=world-liberty-financial AAVE=aave USDT=tether USDC=usd-coin USDS=usds 1INCH=1inch A=vaulta
A8=ancient8 ACE=endurance ACH=alchemy-pay ACS=access-protocol ACX=across-protocol
ADP=adappter-token AERGO=aergo AERO=aerodrome-finance AGI=delysium AGLD=adventure-gold
AHT=ahatoken AI16Z=ai16z AIOZ=aioz-network AKT=akash-network ALGO=algorand ALICE=my-neighbor-alice
ALT=altlayer AMO=amo AMP=amp-token ANIME=anime ANKR=ankr APE=apecoin API3=api3 APM=apm-coin
APT=aptos AQT=alpha-quark-token AR=arweave ARB=arbitrum ARDR=ardor ARK=ark ARKM=arkham ARPA=arpa
ASTR=astar ATH=aethir AUCTION=auction AUDIO=audius AVAIL=avail AVL=avalon-2 AWE=stp-network
AXS=axie-infinity AZIT=azit B3=b3 BABY=babylon BAL=balancer BAT=basic-attention-token BB=bouncebit
BEAM=beam-2 BEL=bella-protocol BERA=berachain-bera BFC=bifrost BICO=biconomy BIGTIME=big-time
BIO=bio-protocol BLAST=blast BLUE=bluefin BLUR=blur BMT=bubblemaps BNT=bancor BOA=bosagora-2
BOBA=boba-network BONK=bonk BORA=bora BOUNTY=sentinel-protocol BRETT=based-brett
BSV=bitcoin-cash-sv BTT=bittorrent C=chainbase C98=coin98 CAKE=pancakeswap-token CAMP=camp-network
CARV=carv CBK=cobak-token CELO=celo CELR=celer-network CFX=conflux-token CHR=chromaway CHZ=chiliz
CKB=nervos-network COMP=compound-governance-token COOKIE=cookie CORE=coredaoorg COS=contentos
COTI=coti COW=cow-protocol CRTS=cratos CRV=curve-dao-token CSPR=casper-network CTC=creditcoin-2
CTK=certik CTSI=cartesi CTXC=cortex CVC=civic CYBER=cyberconnect D=dar-open-network DAO=dao-maker
DBR=debridge DEEP=deep DKA=dkargo DRIFT=drift-protocol DVI=dvision-network DYDX=dydx-chain
EDU=edu-coin EGG=justanegg-2 EGLD=elrond-erd-2 EIGEN=eigenlayer EL=elysia ELF=aelf
ELX=elixir-finance ENJ=enjincoin ENS=ethereum-name-service EPT=balance ERA=caldera ES=eclipse-3
ETC=ethereum-classic ETHFI=ether-fi EUL=euler F=synfutures FET=fetch-ai FIDA=bonfida FIL=filecoin
FITFI=step-app-fitfi FLOCK=flock-2 FLOKI=floki FLOW=flow FLR=flare-networks FLUX=zelcash
FORT=forta G=g-token GALA=gala GAS=gas GHX=gamercoin GLM=golem GMT=stepn GMX=gmx GNO=gnosis
GOAT=goatseus-maximus GRASS=grass GRND=superwalk GRS=groestlcoin GRT=the-graph GTC=gitcoin
H=humanity HAEDAL=haedal HFT=hashflow HIVE=hive HOME=home HOOK=hooked-protocol HP=hippo-protocol
HUMA=huma-finance HUNT=hunt-token HYPER=hyperlane ICP=internet-computer ICX=icon ID=space-id
ILV=illuvium IMX=immutable-x INIT=initia INJ=injective-protocol IO=io IOST=iostoken IOTA=iota
IOTX=iotex IP=story-2 IQ=everipedia JASMY=jasmycoin JOE=joe JST=just JTO=jito-governance-token
JUP=jupiter-exchange-solana KAIA=kaia KAITO=kaito KAVA=kava KERNEL=kernel-2
KNC=kyber-network-crystal KSM=kusama LA=lagrange LAYER=solayer LBL=label-foundation LDO=lido-dao
LISTA=lista LM=leisuremeta LPT=livepeer LRC=loopring LSK=lisk LWA=onbuff MAGIC=magic
MANA=decentraland MANTA=manta-network MAPO=marcopolo MASK=mask-network MAV=maverick-protocol
MBL=moviebloc MBX=marblex ME=magic-eden MED=medibloc MERL=merlin-chain META=meta-2-2
METIS=metis-token MEW=cat-in-a-dogs-world MINA=mina-protocol MIX=mixmarvel MLK=milk-alliance
MOC=mossland MOCA=mocaverse MOODENG=moo-deng MORPHO=morpho MOVE=movement MTL=metal MVC=mileverse
MVL=mass-vehicle-ledger NCT=polyswarm NEIRO=neiro-3 NEO=neo NEWT=newton-protocol NFT=apenft
NIL=nillion NMR=numeraire OAS=oasys OBSR=observer-coin OBT=orbiter-finance OGN=origin-protocol
OM=mantra-dao OMNI=omni-network ONDO=ondo-finance ONG=ong ONT=ontology OP=optimism ORBS=orbs
ORCA=orca ORDER=orderly-network OSMO=osmosis OXT=orchid-protocol PARTI=particle-network
PAXG=pax-gold PCI=pay-coin PEAQ=peaq-2 PENDLE=pendle PENGU=pudgy-penguins PLUME=plume
POKT=pocket-network POL=polygon-ecosystem-token POLA=polaris-share POLYX=polymesh PONKE=ponke
POWR=power-ledger PROMPT=wayfinder PROVE=succinct PUFFER=puffer-finance PUMP=pump-fun
PUNDIX=pundi-x-2 PYR=vulcan-forged PYTH=pyth-network QKC=quark-chain QTUM=qtum RAD=radicle
RAY=raydium RED=redstone-oracles REI=unit-00-rei RENDER=render-token REQ=request-network
RESOLV=resolv REZ=renzo RLC=iexec-rlc ROA=roaland-core RON=ronin RPL=rocket-pool
RSR=reserve-rights-token RSS3=rss3 RVN=ravencoin S=sonic-3 SAFE=safe SAHARA=sahara-ai
SAND=the-sandbox SC=siacoin SCR=scroll SD=stader SEI=sei-network SFP=safepal SHELL=myshell
SIGN=sign-global SIX=six SKL=skale SKY=sky SLF=self-chain SNT=status SNX=havven SOFI=rai-finance
SOLV=solv-protocol SONIC=sonic-svm SOON=soon-2 SOPH=sophon SPK=spark-2
SPURS=tottenham-hotspur-fc-fan-token STAT=stat STEEM=steem STG=stargate-finance STORJ=storj
STRAX=stratis STRK=starknet STX=blockstack SUN=sun-token SUNDOG=sundog SUSHI=sushi SWAP=trustswap
SWELL=swell-network SXP=swipe SYRUP=syrup T=threshold-network-token TAIKO=taiko TDROP=thetadrop
TFUEL=theta-fuel THE=thena THETA=theta-token TIA=celestia TOWNS=towns TREE=treehouse
TRUMP=official-trump TT=thunder-token TURBO=turbo UMA=uma UOS=ultra USD1=usd1-wlfi UXLINK=uxlink
VANA=vana VET=vechain VIRTUAL=virtual-protocol VTHO=vethor-token W=wormhole WAL=walrus-2
WAVES=waves WAXP=wax WCT=connect-token-wct WIF=dogwifcoin WIKEN=project-with WOO=woo-network
XAI=xai-blockchain XCN=chain-2 XEC=ecash XPLA=xpla XPR=proton XTER=xterio XTZ=tezos XVS=venus
XYO=xyo-network YFI=yearn-finance YGG=yield-guild-games ZETA=zetachain ZIL=zilliqa ZK=zksync
ZRC=zircuit ZRO=layerzero ZRX=0x ZTX=ztx
"""

COINS: dict[str, str] = {
    symbol: coin for symbol, _, coin in (pair.partition("=") for pair in _PAIRS.split())
}
